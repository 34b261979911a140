"""Documents become pairs of segments, half of them swapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from albert_edge.training.pretraining.texts import Document

__all__ = ["SPECIAL", "Pair", "make_pairs"]

SPECIAL = 3  # [CLS] and two [SEP]
_SHORT = 0.1  # the share of pairs that are shorter than they could be


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two segments that follow each other in one document.

    Attributes:
        first: int32 [A], the tokens of the segment that comes first in the model's input.
        second: int32 [B].
        swapped: 1 if `first` stands behind `second` in the document, else 0.
    """

    first: np.ndarray
    second: np.ndarray
    swapped: int


def make_pairs(
    documents: Sequence[Document], *, max_length: int, random: np.random.Generator
) -> list[Pair]:
    """Cut documents into pairs of segments, each document anew at every call.

    Lan et al. 2020, arXiv:1909.11942, sec. 4.1 and 3.1: sentences of one document are collected up
    to `max_length` tokens, in a tenth of the cases to fewer, and parted in two somewhere; half of
    the pairs are swapped.  A pair never holds text of two documents.

    Args:
        documents: Documents of two sentences or more.
        max_length: The most tokens of a pair, special ones included.
        random: Draws lengths, places and orders.

    Returns:
        The pairs in random order.
    """
    pairs = [
        pair for document in documents for pair in _pairs_of(document, max_length - SPECIAL, random)
    ]
    return [pairs[index] for index in random.permutation(len(pairs))]


def _pairs_of(document: Document, most: int, random: np.random.Generator) -> Iterator[Pair]:
    wanted, chunk, size = _target(most, random), list[np.ndarray](), 0
    for number, sentence in enumerate(document, 1):
        chunk.append(sentence)
        size += len(sentence)
        if size < wanted and number < len(document):
            continue
        if len(chunk) > 1:
            yield _part(chunk, wanted, random)
        wanted, chunk, size = _target(most, random), [], 0


def _target(most: int, random: np.random.Generator) -> int:
    return int(random.integers(2, most + 1)) if random.random() < _SHORT else most


def _part(chunk: list[np.ndarray], most: int, random: np.random.Generator) -> Pair:
    at = int(random.integers(1, len(chunk)))
    segments = [np.concatenate(chunk[:at]), np.concatenate(chunk[at:])]
    while (over := len(segments[0]) + len(segments[1]) - most) > 0:
        # The longer one loses tokens at its front or its end, at random, as BERT's do.
        longer = int(len(segments[1]) > len(segments[0]))
        cut = min(over, max(abs(len(segments[0]) - len(segments[1])), 1))
        kept = len(segments[longer]) - cut
        start = cut if random.random() < 0.5 else 0
        segments[longer] = segments[longer][start : start + kept]
    swapped = int(random.random() < 0.5)
    return Pair(segments[swapped], segments[1 - swapped], swapped)
