"""Elements: any text stays text, and rows are labelled, numbered and sorted."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from albert_edge.benchmark.format import format_setting
from albert_edge.benchmark.html.elements import (
    Axis,
    element,
    group_by_length,
    legend_key,
    marker,
    polyline,
    prepare_rows,
    round_medians,
    serialize,
)
from benchmark.html.page import Page

# Those that XML's writer leaves alone and a parser of HTML returns as they are.
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))


@given(TEXTS, TEXTS, TEXTS)
def test_any_text_stays_text(before: str, title: str, after: str) -> None:
    made = element("p", before, element("b", "bold"), after, title=title, class_="note")
    inner, outer = Page(serialize(made)).elements[::-1]
    assert (outer["tag"], outer["class"], outer["title"]) == ("p", "note", title)
    assert outer["text"] == f"{before}bold{after}"
    assert inner == {"tag": "b", "text": "bold", "in": ["p"]}


def test_what_is_none_is_left_out() -> None:
    made = element("a", None, "x", "", None, href=None, aria_label="y")
    assert serialize(made) == '<a aria-label="y">x</a>'


def row(name: str, **more: Any) -> dict[str, Any]:
    same = {"layout": "loop", "status": "ok", "seq_len": 8, "latency_ms": 2.0, "threads": 1}
    return {**same, "accelerator": "cpu", "name": name, **more}


def test_rows_are_sorted_and_labelled_where_a_name_has_several_layouts() -> None:
    rows = [
        row("slow", latency_ms=9.0),
        row("two", layout="split", seq_len=4),
        row("wrong", status="wrong", latency_ms=1.0),
        row("two", seq_len=16),
        row("fast"),
        row("gone", status="error"),
    ]
    found = prepare_rows({"rows": rows})
    labels = ["two, split", "fast", "slow", "wrong", "gone", "two, loop"]
    assert [one["label"] for one in found] == labels
    assert [one["series"] for one in found] == [1, 4, 0, 2, 5, 3]
    assert [one["measured"] for one in found] == [True, True, True, True, False, True]
    assert {length: len(group) for length, group in group_by_length(found).items()} == {
        4: 1,
        8: 4,
        16: 1,
    }
    assert all("label" not in one for one in rows)  # they are copies


def test_settings_and_rounds() -> None:
    assert format_setting(row("a")) == "1 thread"
    assert format_setting(row("a", accelerator="gpu", threads=2)) == "gpu, 2 threads"
    assert round_medians({"rounds": [{"latency_ms": 2.0}, {"latency_ms": 1.0}]}) == [2.0, 1.0]
    assert round_medians({}) == []


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
