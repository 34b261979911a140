"""First word embeddings: words that keep the same company start close together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

__all__ = ["cooccurrence_embeddings"]

_WINDOW = 5  # how far apart words still are company
_CONTEXTS = 4000  # the most frequent words, which describe the others


def cooccurrence_embeddings(
    sequences: Sequence[Sequence[int]], *, rows: int, size: int, seed: int = 0
) -> np.ndarray:
    """Factorize how much more often than by chance words occur near each other.

    Levy, Goldberg and Dagan 2015, doi:10.1162/tacl_a_00134: positive pointwise mutual information,
    nearer words counting more, context frequencies to the power of 0.75, and a truncated singular
    value decomposition weighted by the roots of the singular values.  It costs seconds, and a
    network that starts from it has less to learn.

    Args:
        sequences: Token ids of texts, each in [0, rows).
        rows: V, the number of tokens.
        size: E, the width of an embedding.
        seed: Of the random projection that finds the decomposition.

    Returns:
        float32 [V, E], every row of length 1, or of 0 for a token without company.
    """
    contexts = _frequent(sequences, rows)
    counts = np.zeros(rows * len(contexts), np.float32)
    place = np.full(rows, -1, np.int64)
    place[contexts] = np.arange(len(contexts))
    for words, neighbours, weight in _pairs(sequences):
        known = place[neighbours] >= 0
        keys = words[known] * len(contexts) + place[neighbours[known]]
        counts += weight * np.bincount(keys, minlength=len(counts)).astype(np.float32)
    vectors = _factorize(_information(counts.reshape(rows, -1)), size, seed)  # [V, E]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-6)
    return unit


def _frequent(sequences: Sequence[Sequence[int]], rows: int) -> np.ndarray:
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


def _information(counts: np.ndarray) -> np.ndarray:
    """Turn counts [V, C] into positive pointwise mutual information."""
    words = counts.sum(axis=1, keepdims=True)  # [V, 1]
    contexts = counts.sum(axis=0, keepdims=True) ** 0.75  # [1, C]
    expected = words * (contexts / max(contexts.sum(), 1.0))  # [V, C]
    ratio = np.divide(counts, expected, out=np.ones_like(counts), where=counts > 0)
    positive: np.ndarray = np.maximum(np.log(ratio, out=ratio), 0, out=ratio)
    return positive


def _factorize(matrix: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return the left singular vectors of [V, C] times the roots of their values: [V, size].

    Halko, Martinsson and Tropp 2011, doi:10.1137/090771806: a random projection, refined.
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
