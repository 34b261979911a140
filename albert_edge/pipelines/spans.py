"""Which span of a context answers best: the arithmetic of extractive question answering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["score_spans"]

Numbers = npt.NDArray[Any]


def score_spans(
    starts: Sequence[Numbers], ends: Sequence[Numbers], *, step: int, longest: int
) -> tuple[Numbers, Numbers, Numbers]:
    """Score every span of at most `longest` tokens once, over all windows of a context.

    A span that lies in several windows is scored where its shorter side has the most context, in
    the earlier of two that are equal (after run_squad's "max context", Devlin et al. 2018,
    arXiv:1810.04805, which looks at the span's first token only).  Every span is found if
    neighbouring windows share at least `longest - 1` tokens.

    Args:
        starts: The start logits of the context's tokens in each window, float [n]; window `k`
            begins at token `k * step` of the context.
        ends: The end logits, of the same shapes.
        step: The number of tokens between the beginnings of neighbouring windows.
        longest: The most tokens of a span, at least 1.

    Returns:
        The K spans' first tokens and last tokens, int64 [K], counted over the whole context, and
        their scores [K], the sums of a start and an end logit.
    """
    edges = [(k * step, k * step + len(logits)) for k, logits in enumerate(starts)]
    parts = []
    for k, (begin, end) in enumerate(edges):
        first, last = _all_spans(end - begin, longest)
        context = [
            _context(first + begin, last + begin, edge) for edge in edges[max(k - 1, 0) : k + 2]
        ]
        # Context rises, then falls from window to window: the neighbours tell where it is greatest.
        here = context.pop(1 if k else 0)
        ours = np.ones(len(first), bool)
        if k:
            ours &= here > context.pop(0)
        if context:
            ours &= here >= context.pop()
        first, last = first[ours], last[ours]
        parts.append((first + begin, last + begin, starts[k][first] + ends[k][last]))
    firsts, lasts, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return firsts, lasts, scores


def _all_spans(count: int, longest: int) -> tuple[Numbers, Numbers]:
    # First and last tokens of the spans of at most `longest` among `count` tokens.
    lengths = np.arange(min(longest, count))
    first, extra = np.nonzero(np.arange(count)[:, None] + lengths < count)
    return first, first + extra


def _context(first: Numbers, last: Numbers, edge: tuple[int, int]) -> Numbers:
    # The tokens beside a span on its shorter side; negative if it is not inside of the window.
    begin, end = edge
    least: Numbers = np.minimum(first - begin, end - 1 - last)
    return least
