"""Axes and marks: everything has a place, and ticks are round."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from albert_edge.benchmark.html.elements import serialize
from albert_edge.benchmark.html.svg import Axis, legend_key, marker, polyline


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=20))
def test_an_axis_has_room_for_all_and_a_few_round_figures(values: list[float]) -> None:
    axis = Axis.fit(values)
    places = [axis.position(value) for value in sorted(values)]
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= 100
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    assert all(axis.low <= tick <= axis.high for tick in ticks)


def test_a_position_is_logarithmic_and_stays_on_the_axis() -> None:
    axis = Axis(low=1.0, high=10_000.0)
    assert [axis.position(value) for value in (-1, 1, 10, 100, 10_000, 1e9)] == [
        0,
        0,
        25,
        50,
        100,
        100,
    ]
    nearly = Axis.fit([100.0, 101.0])  # such a difference must not fill the axis
    assert nearly.position(101.0) - nearly.position(100.0) < 10


def test_series_differ_by_more_than_their_colour() -> None:
    keys = [serialize(legend_key(number)) for number in range(35)]
    assert len(set(keys)) == 35
    assert keys[0] != serialize(legend_key(7))  # of the same colour
    assert serialize(legend_key(35)) == keys[0]


def test_a_marker_is_where_it_belongs_and_crossed_if_wrong() -> None:
    shown = serialize(marker(2, 25, 75, tooltip="a < b"))
    assert '<use href="#mark-2" x="25%" y="25%" class="c2"' in shown
    assert "<title>a &lt; b</title>" in shown
    assert 'href="#mark-5"' in serialize(marker(2, 0, 0, tooltip="", wrong=True))
    assert 'points="0,100 50,0"' in serialize(polyline([(0, 0), (50, 100)], class_="line"))
