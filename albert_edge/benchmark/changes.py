"""A comparison of two reports as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from albert_edge.benchmark.words import figure, megabytes, percent, plural, times

__all__ = ["render_comparison"]

_STYLES = {"worse": "bold red", "better": "green"}
_FIGURES = {
    "latency_ms": ("median ms", figure),
    "end_to_end_ms": ("from text ms", figure),
    "load_ms": ("load ms", figure),
    "first_ms": ("first ms", figure),
    "model_rss_bytes": ("RAM MB", megabytes),
    "energy_joules": ("energy J", figure),
    "size_bytes": ("file MB", megabytes),
    "error": ("error", percent),
}
_COLUMNS: dict[str, Literal["left", "right"]] = {
    "thr.": "right",
    "T": "right",
    "": "left",
    "old": "right",
    "new": "right",
    "ratio": "right",
    "of 99%": "right",
}
_WORDS = {"ok": "right", "wrong": "WRONG", "error": "failed", "pending": "not measured"}


def render_comparison(found: Mapping[str, Any]) -> Group:
    """Make what the verb prints: the worst first; of what did not change, only the median.

    Args:
        found: What `albert_edge.benchmark.compare.compare` returned.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    for heading, justify in _COLUMNS.items():
        table.add_column(heading, justify=justify, no_wrap=True)
    for row in found["rows"]:
        _add(table, row)
    return Group(*_circumstances(found), table, *_notes(found))


def _add(table: Table, row: Mapping[str, Any]) -> None:
    name = Text(row["name"], style="cyan")
    if row["doubts"] and row["verdict"] != "same":
        name.append(f"\n{', '.join(row['doubts'])}", style="yellow")
    lines = list(_lines(row))
    for number, (mark, *cells) in enumerate(lines):
        first = number == 0
        place = [name, str(row["threads"]), str(row["seq_len"])] if first else ["", "", ""]
        last = number + 1 == len(lines) and row["verdict"] != "same"
        table.add_row(mark, *place, *cells, end_section=last)


def _lines(row: Mapping[str, Any]) -> Iterator[tuple[Text, ...]]:
    if row["old_status"] != row["new_status"]:
        word = "better" if row["new_status"] == "ok" else "worse"
        states = [Text(_WORDS[row[name]]) for name in ("old_status", "new_status")]
        yield Text(word, style=_STYLES[word]), Text("answers"), *states, Text(), Text()
    elif row["new_status"] != "ok":
        yield Text(_WORDS[row["new_status"]], style="bold red"), *[Text()] * 5
    for name, change in row["changes"].items():
        if name == "latency_ms" or change["verdict"] in _STYLES:
            yield _line(name, change)


def _line(name: str, change: Mapping[str, Any]) -> tuple[Text, ...]:
    label, write = _FIGURES[name]
    word = change["verdict"] if change["verdict"] in _STYLES else ""
    style = _STYLES.get(word, "dim")
    low, high = change["low"], change["high"]
    between = "unknown" if low is None else "" if low == high else f"{low:.2f}-{high:.2f}"
    cells = (label, write(change["old"]), write(change["new"]), times(change["ratio"]), between)
    return Text(word, style=style), *(Text(cell, style=style) for cell in cells)


def _circumstances(found: Mapping[str, Any]) -> Iterator[Text]:
    differs = found["differs"]
    if not found["same_machine"]:
        yield Text(
            "ANOTHER MACHINE: what changed below may be the machine's doing, not the files'.",
            style="bold red",
        )
    elif differs:
        yield Text("Not under the same conditions:", style="yellow")
    for one in differs:
        was, now = (_said(one[when]) for when in ("old", "new"))
        yield Text(
            f"  {one['what']}: {was}, now {now}", style="red" if one["hardware"] else "yellow"
        )


def _said(value: Any) -> str:
    words = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    return ", ".join(words) if value not in (None, []) else "none"


def _notes(found: Mapping[str, Any]) -> Iterator[Text]:
    rows = found["rows"]
    counts = Counter(row["verdict"] for row in rows)
    verdicts = ("broken", "worse", "mixed", "better", "same", "unknown")
    states = ", ".join(f"{counts[one]} {one}" for one in verdicts if counts[one])
    yield Text(f"{plural(len(rows), 'configuration')} compared: {states}.")
    for name, word in (("only_old", "Gone"), ("only_new", "New")):
        if found[name]:
            listed = "; ".join(_identity(one) for one in found[name])
            yield Text(f"{word}: {listed}.")
    for name in ("old", "new"):
        if not found[name]["complete"]:
            yield Text(f"The {name} report is not complete.", style="yellow")
    changed = sorted({row["name"] for row in rows if not row["same_file"]})
    yield Text(f"Files whose content changed: {', '.join(changed) or 'none'}.", style="dim")
    yield Text(
        "Less is better in all figures. A change is one if the ratio's 99% interval, by how the "
        "rounds of both reports vary, leaves out 1, and it exceeds 5% (RAM 2%, file 0.1%, error "
        "1%). Of one round alone nothing is known.",
        style="dim",
    )


def _identity(row: Mapping[str, Any]) -> str:
    return f"{row['name']}, {plural(row['threads'], 'thread')}, T={row['seq_len']}"
