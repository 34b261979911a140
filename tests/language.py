"""A made-up language that a tiny ALBERT learns in seconds, and what teaching it takes.

A document counts from one to six, and names its one topic twice beside every number.  So a hidden
topic is known from the rest of the document, and the order of two segments from their numbers.
"""

from __future__ import annotations

import random

from albert_edge.checkpoints import Checkpoint
from albert_edge.checkpoints.init import init_model
from albert_edge.config import AlbertConfig
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.training.pretraining.corpus import Document, encode_documents

__all__ = ["NUMBERS", "SHAPE", "TOPICS", "documents", "fresh", "language", "words"]

NUMBERS = ("one", "two", "three", "four", "five", "six")
TOPICS = ("lake", "moor", "road", "farm", "wood", "town", "hill", "shore")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# Its `vocab_size` is the most pieces that a vocabulary trained on the language may have.
SHAPE = {
    "vocab_size": 100,
    "embedding_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "initializer_range": 0.1,
}


def language(count: int, *, seed: int = 0) -> list[list[str]]:
    """Return documents of sentences."""
    drawn = random.Random(seed)
    topics = [drawn.choice(TOPICS) for _ in range(count)]
    return [[f"{number} {topic} {topic}" for number in NUMBERS] for topic in topics]


def words() -> Tokenizer:
    """Return a tokenizer with a piece for every word."""
    pieces = "\n".join([*_SPECIAL, *NUMBERS, *TOPICS])
    return tokenizer_from_files({"vocab.txt": pieces.encode()})


def documents(count: int, *, seed: int = 0) -> list[Document]:
    """Return documents as `pretrain` takes them."""
    return encode_documents(language(count, seed=seed), words())


def fresh() -> Checkpoint:
    """Return a model that has learned nothing, always the same."""
    pieces = words()
    config = AlbertConfig(**{**SHAPE, "vocab_size": pieces.vocab_size})
    return Checkpoint(
        config=config,
        task="pretraining",
        tensors=init_model(config, "pretraining", seed=0),
        tokenizer_files=pieces.files(),
        source="random weights",
    )
