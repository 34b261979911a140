"""Which sentences stand for an article: central ones, and not the same thing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["centrality", "choose", "scale", "shared_pairs"]

Numbers = npt.NDArray[np.float64]

# Chosen on SciTLDR's dev abstracts (`benchmarks/summarize.py`).
_THRESHOLD = 0.3  # of the way from the least to the largest cosine of an article
_EARLIER = 0.5  # what a likeness to an earlier sentence counts
_TINY = 1e-12


def scale(values: Numbers) -> Numbers:
    """Map the least value to 0 and the largest to 1; all to 1 if they are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def choose(
    relevance: Numbers, likeness: Callable[[int], Numbers], *, count: int, redundancy: float
) -> list[int]:
    """Choose sentences one by one, each for what it says that those before do not.

    Maximal marginal relevance (Carbonell and Goldstein 1998, doi:10.1145/290941.291025), where
    lambda is 1 - `redundancy`.

    Args:
        relevance: How good each sentence is by itself, [n], in [0, 1].
        likeness: Tells how much a sentence says the same as each, [n], in [0, 1].
        count: How many to choose, if there are as many.
        redundancy: How much the likeness to a chosen sentence counts against another one, against
            its relevance, in [0, 1].

    Returns:
        The chosen ones, in the order of the article.

    Example:
        >>> same = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
        >>> choose(np.array([1, 0.9, 0.5]), same.__getitem__, count=2, redundancy=0.5)
        [0, 2]
    """
    chosen: list[int] = []
    most = np.zeros_like(relevance)  # the likeness to the nearest one that is chosen
    while len(chosen) < min(count, len(relevance)):
        worth = (1 - redundancy) * relevance - redundancy * most
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
        most = np.maximum(most, likeness(chosen[-1]))
    return sorted(chosen)


def centrality(vectors: Numbers) -> tuple[Numbers, Numbers]:
    """Find out which sentences the others are like.

    The degree in the graph of the article's sentences, where a likeness to what comes later counts
    more than one to what came before (PacSum: Zheng and Lapata 2019, arXiv:1906.03508, sec. 3),
    and small ones not at all.  Small is what is small in this article: the states of an encoder
    that was never taught to compare have large cosines throughout.

    Args:
        vectors: A vector of each sentence, [n, H].

    Returns:
        The centrality of each, [n], from 0 to 1, and the likeness of every two, [n, n], from 0 to
        1, the largest in this article; of a sentence to itself 0.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
    cosines = unit @ unit.T  # [n, n]
    others = ~np.eye(len(vectors), dtype=bool)
    if not others.any():
        return np.ones(1), np.zeros((1, 1))
    low, high = cosines[others].min(), cosines[others].max()
    least = low + _THRESHOLD * (high - low)
    likeness = np.where(others, np.maximum(cosines - least, 0), 0) / max(high - least, _TINY)
    later, earlier = (part.sum(axis=1) for part in (np.triu(likeness), np.tril(likeness)))
    return scale(later + _EARLIER * earlier), likeness


def shared_pairs(sentences: Sequence[Sequence[int]], one: int) -> Numbers:
    """Return which share of the neighbouring tokens of the shorter of two sentences both have.

    In the place of BERTSUM's rule that no three words may be there twice (Liu 2019,
    arXiv:1903.10318, sec. 3), of which this is the measure.

    Args:
        sentences: The token ids of n sentences, each at least one.
        one: The sentence that all are compared with.

    Returns:
        float64 [n], in [0, 1].

    Example:
        >>> shared_pairs([[7, 8, 9], [7, 8], [5]], 1).tolist()
        [1.0, 1.0, 0.0]
    """
    ours = _pairs(sentences[one])
    others = (_pairs(ids) for ids in sentences)
    return np.array([len(ours & pairs) / min(len(ours), len(pairs)) for pairs in others])


def _pairs(ids: Sequence[int]) -> set[tuple[int, ...]]:
    return {*pairwise(ids)} or {(ids[0],)}
