"""Elements: any text stays text, and rows are labelled, numbered and sorted."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from albert_edge.benchmark.html.elements import (
    element,
    format_setting,
    group_by_length,
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
