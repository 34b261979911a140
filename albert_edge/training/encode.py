"""Texts and pairs of texts become ids, cut to a length, and the cut ones are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from albert_edge.tokenizer import Tokenizer
from albert_edge.training.batches import encode_texts, sample_texts
from albert_edge.training.options import FinetuneOptions

__all__ = ["Encoded", "encode_pairs", "sample_pairs"]


class Encoded(NamedTuple):
    """n encoded texts, or pairs.

    Attributes:
        input_ids: n sequences of token ids.
        token_type_ids: As many numbers for each; None of single texts, where all are 0.
        truncated: How many were too long, and so cut.
    """

    input_ids: list[list[int]]
    token_type_ids: list[list[int]] | None
    truncated: int


def encode_pairs(
    texts: Sequence[str], pairs: Sequence[str] | None, tokenizer: Tokenizer, *, max_length: int
) -> Encoded:
    """Encode texts, or pairs of texts, as they will be encoded on the device."""
    if pairs is None:
        return _cut(encode_texts(texts, tokenizer, max_length=None), None, max_length)
    seconds = encode_texts(pairs, tokenizer, max_length=None)
    return _cut(encode_texts(texts, tokenizer, max_length=None), seconds, max_length)


def sample_pairs(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    tokenizer: Tokenizer,
    *,
    options: FinetuneOptions,
    random: np.random.Generator,
) -> Encoded:
    """Encode texts, or pairs of texts, in randomly drawn segmentations; see `sample_texts`."""
    firsts, seconds = (
        None
        if side is None
        else sample_texts(
            side,
            tokenizer,
            max_length=None,
            alpha=options.sampling,
            seed=int(random.integers(1 << 31)),
        )
        for side in (texts, pairs)
    )
    return _cut(firsts or [], seconds, options.max_length)


def _cut(firsts: list[list[int]], seconds: list[list[int]] | None, most: int) -> Encoded:
    """Join `[CLS] a [SEP]` with the b of `[CLS] b [SEP]`, and cut the longer one at its end."""
    if seconds is None:
        ids = [one if len(one) <= most else [*one[: most - 1], one[-1]] for one in firsts]
        return Encoded(ids, None, sum(len(one) > most for one in firsts))
    joined, types, truncated = [], [], 0
    for first, second in zip(firsts, seconds, strict=True):
        a, b = first[:-1], second[1:-1]
        truncated += len(a) + len(b) + 2 > most
        while len(a) + len(b) + 2 > most:  # [CLS] is a's first
            (a if len(a) - 1 > len(b) else b).pop()
        joined.append([*a, first[-1], *b, first[-1]])
        types.append([0] * (len(a) + 1) + [1] * (len(b) + 1))
    return Encoded(joined, types, truncated)
