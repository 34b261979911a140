"""The Pareto front and its charts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from albert_edge.benchmark.html.tradeoffs import pareto_front


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_no_point_beats_one_on_the_front_and_each_other_is_beaten(
    points: list[tuple[int, int]],
) -> None:
    front = pareto_front(points)
    for x, y in points:
        beaten = any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
        assert beaten != ((x, y) in front)
