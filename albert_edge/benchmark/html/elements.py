"""Elements of a page, made so that no text can become markup."""

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
    "by_length",
    "element",
    "medians",
    "prepare_rows",
    "serialize",
    "setting",
]

Child = Element | str | None
_MEASURED = ("ok", "wrong")


def element(tag: str, *children: Child, **attributes: Any) -> Element:
    """Make an element.

    Args:
        tag: Its name.
        children: Elements, texts (which stay texts, whatever they hold), and None for nothing.
        attributes: By name; `class_` is `class`, `aria_label` is `aria-label`, and one that is None
            is left out.

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
    """Make a name that somebody else chose: its writing direction stays inside it."""
    return element("bdi", text)


def serialize(root: Element) -> str:
    """Write an element and all that is in it as HTML."""
    text: str = tostring(root, encoding="unicode", method="html")
    return text


# The rows of a report as the page's sections take them: labelled, numbered, in order.


def prepare_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows, the best of every length first, each with what the figures call it.

    Returns:
        Copies of the rows with a `label` (the name, with the layout where a name has several), the
        `series` it belongs to (one number a label, from 0), and `measured`.
    """
    rows = document["rows"]
    layouts: dict[str, set[Any]] = defaultdict(set)
    for row in rows:
        layouts[row["name"]].add(row["layout"])
    labels = [
        row["name"] if len(layouts[row["name"]]) == 1 else f"{row['name']}, {row['layout']}"
        for row in rows
    ]
    series = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    # One that failed in a later round has figures of the earlier ones; they do not count.
    made = [
        {**row, "label": label, "series": series[label], "measured": row["status"] in _MEASURED}
        for row, label in zip(rows, labels, strict=True)
    ]
    return sorted(made, key=_order)


def by_length(rows: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Group rows by their number of tokens, in their order."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["seq_len"], []).append(row)
    return groups


def medians(row: Mapping[str, Any]) -> list[float]:
    """Return the median of each round, in milliseconds; none in reports that have no rounds."""
    return [one["latency_ms"] for one in row.get("rounds", [])]


def setting(row: Mapping[str, Any]) -> str:
    """Write what a file was measured with, such as `2 threads`."""
    threads = format_count(row["threads"], "thread")
    return threads if row["accelerator"] == "cpu" else f"{row['accelerator']}, {threads}"


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    right = ("ok", "wrong", "error", "pending").index(row["status"])
    return row["seq_len"], right, row.get("latency_ms", 0), row["series"], row["threads"]
