"""The checkpoint that a training starts from: a new model, a student, or an encoder and a head."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from albert_edge.checkpoints import Checkpoint, init_model
from albert_edge.config import AlbertConfig
from albert_edge.errors import TrainingError
from albert_edge.tasks import TASKS
from albert_edge.tokenizer.train import train_vocabulary
from albert_edge.training.batching import encode_texts

__all__ = ["DEFAULT_CONFIG", "make_student", "with_cooccurrence_embeddings", "with_new_head"]

_WORDS = "embeddings/word_embeddings"
_TABLES = tuple(f"embeddings/{part}_embeddings" for part in ("word", "position", "token_type"))
# The root mean square of the initial word embeddings.  The normalization after them undoes any
# scale; with a large one, training moves words slowly, so that rare ones stay near similar words.
_WORD_SCALE = 0.2
_STUDENT_SCALE = 0.04  # the same of a student's, which are a teacher's already
# 1.3 M parameters, four fifths of them in the word embeddings.  int8 kernels are fastest at widths
# that are multiples of 16.  Dropout is high, as labelled data are few for training from scratch.
DEFAULT_CONFIG = AlbertConfig(
    vocab_size=8000,
    embedding_size=128,
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=512,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.1,
    classifier_dropout_prob=0.3,
    # A narrow model needs larger initial weights: 0.02 is for a width of 768.
    initializer_range=0.05,
)
_WINDOW = 5  # the largest distance of two words that co-occur
_CONTEXTS = 4000  # the most frequent words, whose co-occurrences describe all words


def init_from_scratch(
    config: AlbertConfig,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    seed: int,
    task: str = "classification",
) -> Checkpoint:
    """Train a vocabulary and word embeddings on `texts`; initialize all other weights randomly.

    Args:
        config: The configuration; its `vocab_size` is the largest number of pieces.
        texts: The texts, without labels.
        labels: The names of the labels; none keeps those of `config`.
        seed: The random seed.
        task: The task of the head, one of `tasks.TASKS`.

    Raises:
        TrainingError: No vocabulary can be trained on so little text.
    """
    tokenizer = train_vocabulary(texts, size=config.vocab_size)
    config = dataclasses.replace(
        config, vocab_size=tokenizer.vocab_size, labels=tuple(labels) or config.labels
    )
    tensors = init_model(config, task, seed=seed)
    sequences = encode_texts(texts, tokenizer, max_length=None)
    start = Checkpoint(
        config=config,
        task=task,
        tensors=tensors,
        tokenizer_files=tokenizer.files(),
        source="random weights",
    )
    return with_cooccurrence_embeddings(start, sequences, seed=seed)


def with_cooccurrence_embeddings(
    start: Checkpoint, sequences: Sequence[Sequence[int]], *, seed: int
) -> Checkpoint:
    """Replace the word embeddings by co-occurrence embeddings, where a word co-occurs with any.

    Args:
        start: The checkpoint.
        sequences: Token ids of texts, each in [0, V).
        seed: The random seed.
    """
    table = start.tensors[_WORDS]  # [V, E]
    rows, size = table.shape
    vectors = cooccurrence_embeddings(sequences, rows=rows, size=size, seed=seed)
    known = vectors.any(axis=1, keepdims=True)
    words = np.where(known, _WORD_SCALE * size**0.5 * vectors, table).astype(np.float32)
    return dataclasses.replace(start, tensors={**start.tensors, _WORDS: words})


def make_student(teacher: Checkpoint, config: AlbertConfig, *, seed: int) -> Checkpoint:
    """Make an encoder that starts from a teacher's embeddings.

    The word embeddings are the teacher's by truncated singular value decomposition: its table times
    its first E right singular vectors, scaled.  Positions and token types are mapped alike.  All
    other weights are random.

    Args:
        teacher: The teacher.
        config: The student's configuration, of the teacher's vocabulary.
        seed: The random seed.

    Returns:
        An encoder without a pooler.  Its `changes["distill"]` has `embeddings_kept`, the share of
        the sum of squares of the teacher's word embeddings that is kept.
    """
    task = "feature-extraction"
    tensors = init_model(config, task, seed=seed)
    tensors = {name: one for name, one in tensors.items() if not name.startswith("pooler/")}
    words = teacher.tensors[_WORDS].astype(np.float64)  # [V, E of the teacher]
    basis = _directions(words)[:, : config.embedding_size]
    kept = words @ basis
    scale = _STUDENT_SCALE / np.sqrt(np.mean(kept**2))
    for name in _TABLES:
        tensors[name][:, : basis.shape[1]] = scale * (teacher.tensors[name] @ basis)
    share = float(np.sum(kept**2) / np.sum(words**2))
    return Checkpoint(
        config=config,
        task=task,
        tensors=tensors,
        tokenizer_files=teacher.tokenizer_files,
        source=f"a student of {teacher.source}",
        changes={"distill": {"embeddings_kept": round(share, 4)}},
    )


def _directions(words: np.ndarray) -> np.ndarray:
    """Return the right singular vectors of [V, E], those of the largest values first: [E, E].

    They are the eigenvectors of the product [E, E], which takes a second where the decomposition of
    the table takes a minute.  The largest component of each is positive.
    """
    _, vectors = np.linalg.eigh(words.T @ words)  # ascending
    vectors = vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))]
    directions: np.ndarray = vectors * np.sign(largest)
    return directions


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
        labels: The names of the labels; none for a task without.
        seed: The random seed of the head.
        task: The task of the head.
        changes: Further fields of the configuration that the head needs.

    Raises:
        TrainingError: The checkpoint has no tokenizer.
    """
    if not checkpoint.tokenizer_files:
        raise TrainingError(
            f"{checkpoint.source} has no tokenizer, so it cannot be trained on text; put its "
            "spiece.model or tokenizer.json into the directory."
        )
    names = tuple(labels) or checkpoint.config.labels
    config = dataclasses.replace(checkpoint.config, labels=names, **changes)
    same = checkpoint.task == task and checkpoint.config.labels == names
    if same and config == checkpoint.config:
        return checkpoint
    tensors = init_model(config, task, seed=seed)
    kept = tuple(tensors) if same else ("embeddings/", "encoder/", "pooler/")
    tensors |= {
        name: values
        for name, values in checkpoint.tensors.items()
        if name in tensors and name.startswith(kept)
    }
    if same and config.early_exit and not checkpoint.config.early_exit:
        head = TASKS[task].output_layer
        for part in ("kernel", "bias"):  # every exit begins as the trained head
            trained = tensors[f"{head}/{part}"]
            tensors[f"exits/{part}"] = np.tile(trained, config.num_hidden_layers - 1)
    return dataclasses.replace(checkpoint, config=config, task=task, tensors=tensors)


def cooccurrence_embeddings(
    sequences: Sequence[Sequence[int]], *, rows: int, size: int, seed: int = 0
) -> np.ndarray:
    """Compute word embeddings from co-occurrence counts (PPMI and SVD).

    Words that occur in the same contexts get similar embeddings.

    Levy, Goldberg and Dagan 2015, doi:10.1162/tacl_a_00134: positive pointwise mutual information,
    with larger weights for nearer words and context frequencies to the power of 0.75, and a
    truncated singular value decomposition weighted by the roots of the singular values.  It takes
    seconds, and shortens the training that starts from it.

    Args:
        sequences: Token ids of texts, each in [0, rows).
        rows: V, the number of tokens.
        size: E, the width of an embedding.
        seed: The seed of the random projection in the decomposition.

    Returns:
        float32 [V, E]; every row has norm 1, or 0 for a token that co-occurs with none.
    """
    contexts = _most_frequent(sequences, rows)
    counts = np.zeros(rows * len(contexts), np.float32)
    column = np.full(rows, -1, np.int64)
    column[contexts] = np.arange(len(contexts))
    for words, neighbours, weight in _pairs(sequences):
        known = column[neighbours] >= 0
        keys = words[known] * len(contexts) + column[neighbours[known]]
        counts += weight * np.bincount(keys, minlength=len(counts)).astype(np.float32)
    vectors = _factorize(_ppmi(counts.reshape(rows, -1)), size, seed)  # [V, E]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-6)
    return unit


def _most_frequent(sequences: Sequence[Sequence[int]], rows: int) -> np.ndarray:
    counts = np.bincount(np.concatenate([np.asarray(s, np.int64) for s in sequences]), None, rows)
    order: np.ndarray = np.argsort(-counts, kind="stable")[:_CONTEXTS]
    return order[: np.count_nonzero(counts)]


def _pairs(sequences: Sequence[Sequence[int]]) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Yield words, their neighbours at one distance on one side, and that distance's weight."""
    ids = np.concatenate([np.asarray(sequence, np.int64) for sequence in sequences])
    text = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    for distance in range(1, min(_WINDOW, len(ids) - 1) + 1):
        same = text[distance:] == text[:-distance]
        left, right = ids[:-distance][same], ids[distance:][same]
        yield left, right, 1 / distance
        yield right, left, 1 / distance


def _ppmi(counts: np.ndarray) -> np.ndarray:
    """Return the positive pointwise mutual information of counts, float32 [V, C]."""
    words = counts.sum(axis=1, keepdims=True)  # [V, 1]
    contexts = counts.sum(axis=0, keepdims=True) ** 0.75  # [1, C]
    expected = words * (contexts / max(contexts.sum(), 1.0))  # [V, C]
    ratio = np.divide(counts, expected, out=np.ones_like(counts), where=counts > 0)
    positive: np.ndarray = np.maximum(np.log(ratio, out=ratio), 0, out=ratio)
    return positive


def _factorize(matrix: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return the left singular vectors of [V, C] times the roots of their values: [V, size].

    Halko, Martinsson and Tropp 2011, doi:10.1137/090771806: a random projection, refined by power
    iterations.
    """
    random = np.random.default_rng(seed)
    basis = random.standard_normal((matrix.shape[1], size + 16), np.float32)
    for _ in range(4):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))
    left, values, _ = np.linalg.svd(matrix @ basis, full_matrices=False)
    vectors = np.zeros((len(matrix), size), np.float32)
    found = min(size, len(values))
    vectors[:, :found] = left[:, :found] * np.sqrt(values[:found])
    return vectors
