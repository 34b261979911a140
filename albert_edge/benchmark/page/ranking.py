"""The table: every configuration with its figures, the best of every length first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from albert_edge.benchmark.page.markup import Element, element, name_of
from albert_edge.benchmark.page.rows import by_length, setting
from albert_edge.benchmark.verdict import float32_error
from albert_edge.benchmark.words import figure, megabytes, percent, plural

__all__ = ["ranking", "scrolling"]

_COLUMNS = (
    ("median", "ms"),
    ("p90", "ms"),
    ("p99", "ms"),
    ("from text", "ms"),
    ("tokens", "a second"),
    ("load", "ms"),
    ("first", "ms"),
    ("RAM", "MB"),
    ("file", "MB"),
    ("error", ""),
    ("energy", "mJ"),
)
_WORDS = {"ok": "", "wrong": "WRONG", "error": "failed", "pending": "not yet"}


def ranking(rows: list[dict[str, Any]]) -> Element:
    """Make the section with the table; a column that no row fills is left out."""
    lines = [_figures(row) for row in rows]
    used = [number for number, cells in enumerate(zip(*lines, strict=True)) if {*cells} != {"-"}]
    heads = [element("th", "#", scope="col"), element("th", "configuration", scope="col")]
    for name, unit in (_COLUMNS[number] for number in used):
        heads.append(element("th", name, element("small", f" {unit}"), scope="col"))
    bodies = [
        element("tbody", _group(length, len(heads)), *(_line(row, used) for row in group))
        for length, group in by_length(rows).items()
    ]
    table = element("table", element("thead", element("tr", *heads)), *bodies, class_="ranks")
    return element(
        "section",
        element("h2", "All figures"),
        element("p", _EXPLAINED, class_="note"),
        scrolling(table, name="All figures"),
    )


_EXPLAINED = (
    "The fastest right answer of every length comes first. Times are of warm inferences, outputs "
    "read back; from text is with the tokenizer. RAM: resident "
    "of the warm model, over the empty process. Error: root mean square of the difference "
    "from float32 over that of float32. MB are 10⁶ bytes; - is not measured."
)


def scrolling(table: Element, *, name: str) -> Element:
    """Let a table that is wider than the page move sideways, with a keyboard too."""
    return element("div", table, class_="wide", role="region", aria_label=name, tabindex="0")


def _group(length: int, span: int) -> Element:
    words = element("span", plural(length, "token"))
    return element("tr", element("th", words, scope="rowgroup", colspan=span), class_="group")


def _line(row: Mapping[str, Any], used: Sequence[int]) -> Element:
    place = "" if row["rank"] is None else str(row["rank"])
    figures = _figures(row)
    cells = [element("td", figures[number], class_="number") for number in used]
    kind = None if row["status"] == "ok" else "wrong"
    return element("tr", element("td", place, class_="number"), _name(row), *cells, class_=kind)


def _name(row: Mapping[str, Any]) -> Element:
    return element(
        "th",
        element("strong", f"{_WORDS[row['status']]} ", class_="bad")
        if row["status"] != "ok"
        else None,
        element("span", name_of(row["label"]), class_="label"),
        " ",
        element("span", setting(row), class_="note"),
        *_badges(row["warnings"]),
        scope="row",
    )


def _badges(warnings: Sequence[Mapping[str, str]]) -> Iterator[Element | str]:
    for doubt in warnings:
        yield " "
        yield element("small", doubt["code"], class_="badge", title=doubt["message"])


def _figures(row: Mapping[str, Any]) -> list[str]:
    size = megabytes(row["size_bytes"])
    if not row["measured"]:
        return [*["-"] * 8, size, "-", "-"]
    text, joules = row["end_to_end"], row["energy"]["joules"]
    return [
        *(figure(row[name]) for name in ("latency_ms", "latency_p90_ms", "latency_p99_ms")),
        figure(text and text["latency_ms"]),
        f"{row['tokens_per_s']:,.0f}",
        figure(row["load_ms"]),
        figure(row["first_ms"]),
        megabytes(row["model_rss_bytes"]),
        size,
        percent(float32_error(row)),
        figure(joules and 1e3 * joules),
    ]
