"""The rows of a report as the page's sections take them: labelled, numbered, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from albert_edge.benchmark.words import plural

__all__ = ["by_length", "labelled", "medians", "setting"]

_MEASURED = ("ok", "wrong")


def labelled(document: Mapping[str, Any]) -> list[dict[str, Any]]:
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
    threads = plural(row["threads"], "thread")
    return threads if row["accelerator"] == "cpu" else f"{row['accelerator']}, {threads}"


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    right = ("ok", "wrong", "error", "pending").index(row["status"])
    return row["seq_len"], right, row.get("latency_ms", 0), row["series"], row["threads"]
