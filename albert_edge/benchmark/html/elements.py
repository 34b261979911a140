"""HTML elements whose text cannot become markup, and the rows of a report for the page.

`prepare_rows` labels, numbers and sorts the rows; every section of the page takes its result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, tostring

from albert_edge.benchmark.format import format_count

__all__ = [
    "Child",
    "Element",
    "bdi",
    "element",
    "format_setting",
    "group_by_length",
    "prepare_rows",
    "round_medians",
    "scrollable",
    "serialize",
]

Child = Element | str | None
_MEASURED = ("ok", "wrong")


def element(tag: str, *children: Child, **attributes: Any) -> Element:
    """Make an element.

    Args:
        tag: The tag.
        children: Elements, texts (which are escaped), and None, which is skipped.
        attributes: The attributes by name: `class_` is `class`, `aria_label` is `aria-label`, and
            None is skipped.

    Example:
        >>> serialize(element("p", "a < b ", element("b", "&"), class_="note"))
        '<p class="note">a &lt; b <b>&amp;</b></p>'
    """
    known = {name: value for name, value in attributes.items() if value is not None}
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(known[name]) for name in known})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child:
            made.text = (made.text or "") + child
    return made


def bdi(text: str) -> Element:
    """Isolate the writing direction of a text that someone else chose, such as a file name."""
    return element("bdi", text)


def scrollable(table: Element, *, name: str) -> Element:
    """Make a table scroll sideways if it is wider than the page, by keyboard too."""
    return element("div", table, class_="wide", role="region", aria_label=name, tabindex="0")


def serialize(root: Element) -> str:
    """Return the HTML of an element and its descendants."""
    text: str = tostring(root, encoding="unicode", method="html")
    return text


def prepare_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Label the rows of a report and sort them, the fastest of every length first.

    Returns:
        Copies of the rows with a `label` (the name, with the layout where a name has several), the
        number of the `series` in charts (one per label, from 0), and `measured`.
    """
    rows = report["rows"]
    layouts: dict[str, set[Any]] = defaultdict(set)
    for row in rows:
        layouts[row["name"]].add(row["layout"])
    labels = [
        row["name"] if len(layouts[row["name"]]) == 1 else f"{row['name']}, {row['layout']}"
        for row in rows
    ]
    series = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    # A row that failed in a later round has metrics of earlier ones; it does not count as measured.
    labelled = [
        {**row, "label": label, "series": series[label], "measured": row["status"] in _MEASURED}
        for row, label in zip(rows, labels, strict=True)
    ]
    return sorted(labelled, key=_sort_key)


def group_by_length(rows: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Group rows by their number of tokens, in order."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["seq_len"], []).append(row)
    return groups


def round_medians(row: Mapping[str, Any]) -> list[float]:
    """Return the median of each round in ms; empty for a report without rounds."""
    return [one["latency_ms"] for one in row.get("rounds", [])]


def format_setting(row: Mapping[str, Any]) -> str:
    """Format the accelerator and threads of a row, such as `2 threads`."""
    threads = format_count(row["threads"], "thread")
    return threads if row["accelerator"] == "cpu" else f"{row['accelerator']}, {threads}"


def _sort_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    status = ("ok", "wrong", "error", "pending").index(row["status"])
    return row["seq_len"], status, row.get("latency_ms", 0), row["series"], row["threads"]
