"""Span scores: every span of a context once, from the window where it has the most context."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.pipelines.question_answering import score_spans


def windows_of(count: int, room: int, shared: int) -> list[tuple[int, int]]:
    starts = range(0, max(count - shared, 1), room - shared)
    return [(start, min(start + room, count)) for start in starts]


def by_hand(
    windows: list[tuple[int, int]], starts: list[np.ndarray], ends: list[np.ndarray], longest: int
) -> dict[tuple[int, int], float]:
    # In plain loops: of the windows that contain a span, the one with the most context counts.
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for (begin, end), start_logits, end_logits in zip(windows, starts, ends, strict=True):
        for first in range(begin, end):
            for last in range(first, min(first + longest, end)):
                context = min(first - begin, end - 1 - last)
                if context > best.get((first, last), (-1, 0.0))[0]:
                    score = start_logits[first - begin] + end_logits[last - begin]
                    best[first, last] = (context, score)
    return {span: score for span, (_, score) in best.items()}


@given(data=st.data())
def test_all_spans_agree_with_plain_loops(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40), "tokens")
    room = data.draw(st.integers(1, 12), "room")
    longest = data.draw(st.integers(1, room), "longest")
    shared = data.draw(st.integers(longest - 1, room - 1), "shared")
    windows = windows_of(count, room, shared)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    starts, ends = ([random.normal(size=b - a) for a, b in windows] for _ in range(2))
    first, last, scores = score_spans(starts, ends, step=room - shared, max_length=longest)
    found = dict(zip(zip(first.tolist(), last.tolist(), strict=True), scores, strict=True))
    assert len(found) == len(first)  # each once
    assert found == by_hand(windows, starts, ends, longest)
    everything = {(a, b) for a in range(count) for b in range(a, min(a + longest, count))}
    assert found.keys() == everything


def test_a_max_length_beyond_the_context() -> None:
    first, last, scores = score_spans(
        [np.array([1.0, 2.0])], [np.array([10.0, 20.0])], step=1, max_length=10**9
    )
    assert list(zip(first, last, scores, strict=True)) == [(0, 0, 11.0), (0, 1, 21.0), (1, 1, 22.0)]
