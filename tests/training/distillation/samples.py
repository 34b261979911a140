"""Tiny teachers of random weights, which a tiny student can learn all the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from albert_edge.checkpoints import Checkpoint, init_model, write_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.training.distillation.options import ON_TEXT, StudentShape
from language import NUMBERS, TOPICS
from training.samples import WORDS

SHAPE = StudentShape(
    hidden_size=16,
    num_hidden_layers=2,
    embedding_size=8,
    num_attention_heads=2,
    intermediate_size=32,
)
OPTIONS = dataclasses.replace(
    ON_TEXT, steps=40, batch_size=8, max_length=16, examine_every=10, mixed_precision="off"
)
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tokenizer() -> Tokenizer:
    """Return a tokenizer with a piece for every word of the made-up texts."""
    pieces = (*_SPECIAL, *NUMBERS, *TOPICS, *(w for w in WORDS if w not in TOPICS))
    files = {"vocab.txt": "\n".join([*pieces, "so", "what", "?", "."]).encode()}
    return tokenizer_from_files(files)


def bert(
    task: str = "feature-extraction", *, labels: tuple[str, ...] = ("a", "b"), **config: object
) -> Checkpoint:
    """Return a tiny BERT of random weights, always the same."""
    pieces = tokenizer()
    values = {"problem_type": None, **config}
    shape = AlbertConfig(
        vocab_size=pieces.vocab_size,
        embedding_size=24,
        hidden_size=24,
        num_hidden_layers=3,
        num_hidden_groups=3,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=48,
        initializer_range=0.3,  # so that outputs depend on their inputs
        hidden_act="gelu",
        family="bert",
        labels=labels,
        **values,  # type: ignore[arg-type]
    )
    return Checkpoint(
        config=shape,
        task=task,
        tensors=init_model(shape, task, seed=1),
        tokenizer_files=pieces.files(),
        source="tiny-bert",
    )


def write_bert(folder: Path, task: str = "feature-extraction", **config: object) -> str:
    """Write a tiny BERT to a directory, and return its name."""
    write_checkpoint(folder, bert(task, **config))  # type: ignore[arg-type]
    return str(folder)
