"""What training starts from: an ALBERT that has learned nothing, or one that has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from albert_edge.checkpoints import Checkpoint
from albert_edge.checkpoints.initial import initial_tensors
from albert_edge.config import AlbertConfig
from albert_edge.errors import TrainingError
from albert_edge.training.batches import encode_texts
from albert_edge.training.embeddings import cooccurrence_embeddings
from albert_edge.training.vocabulary import train_vocabulary

__all__ = ["SMALL", "fresh_checkpoint", "with_new_head"]

_WORDS = "embeddings/word_embeddings"
# The root mean square of a first embedding's numbers.  The normalization after the embeddings takes
# any scale; a large one lets training move words slowly, so that rare ones stay beside their like.
_WORD_SCALE = 0.2

# 1.3 M parameters, of which four fifths are the vocabulary's.  Widths are multiples of 16, as int8
# kernels like them.  Dropout is high because data to train a model from nothing is always little.
SMALL = AlbertConfig(
    vocab_size=8000,
    embedding_size=128,
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=512,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.1,
    classifier_dropout_prob=0.3,
    # A narrow model needs larger first weights: 0.02 is for a width of 768.
    initializer_range=0.05,
)


def fresh_checkpoint(
    config: AlbertConfig,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    seed: int,
    task: str = "classification",
) -> Checkpoint:
    """Train a vocabulary and word embeddings on `texts`; draw all other weights at random.

    Args:
        config: The shape; its `vocab_size` is the most pieces there may be.
        texts: What to train on; labels are not needed.
        labels: The names of the classes; none keeps those of `config`.
        seed: The same seed gives the same weights.
        task: The head, one of `config.TASKS`.

    Raises:
        TrainingError: No vocabulary can be trained on so little text.
    """
    tokenizer = train_vocabulary(texts, size=config.vocab_size)
    config = dataclasses.replace(
        config, vocab_size=tokenizer.vocab_size, labels=tuple(labels) or config.labels
    )
    tensors = initial_tensors(config, task, seed=seed)
    sequences = encode_texts(texts, tokenizer, max_length=None)
    vectors = cooccurrence_embeddings(
        sequences, rows=config.vocab_size, size=config.embedding_size, seed=seed
    )
    known = vectors.any(axis=1)
    tensors[_WORDS][known] = _WORD_SCALE * config.embedding_size**0.5 * vectors[known]
    return Checkpoint(
        config=config,
        task=task,
        tensors=tensors,
        tokenizer_files=tokenizer.files(),
        source="random weights",
    )


def with_new_head(
    checkpoint: Checkpoint,
    labels: Sequence[str],
    *,
    seed: int,
    task: str = "classification",
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> Checkpoint:
    """Give a trained encoder a head for `labels`, unless it has that head already.

    Args:
        checkpoint: The encoder.
        labels: The names of the classes; none for a task without.
        seed: The same seed gives the same head.
        task: What the head is for.
        changes: Further fields of its configuration that the head needs.

    Raises:
        TrainingError: The checkpoint has no tokenizer.
    """
    if not checkpoint.tokenizer_files:
        raise TrainingError(
            f"{checkpoint.source} has no tokenizer, so text cannot be turned into its ids; put its "
            "spiece.model or tokenizer.json into the directory."
        )
    names = tuple(labels) or checkpoint.config.labels
    config = dataclasses.replace(checkpoint.config, labels=names, **changes)
    same = checkpoint.task == task and checkpoint.config.labels == names
    if same and config == checkpoint.config:
        return checkpoint
    tensors = initial_tensors(config, task, seed=seed)
    kept = tuple(tensors) if same else ("embeddings/", "encoder/", "pooler/")
    tensors |= {
        name: values
        for name, values in checkpoint.tensors.items()
        if name in tensors and name.startswith(kept)
    }
    return dataclasses.replace(checkpoint, config=config, task=task, tensors=tensors)
