"""A report of `albert-edge benchmark` as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from albert_edge.benchmark.format import (
    format_count,
    format_figure,
    format_megabytes,
    format_percent,
    format_ratio,
)
from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.report_file import SCHEMA, begin_document, to_text
from albert_edge.benchmark.statistics import WARNING_CODES, summarize_rounds, system_warnings
from albert_edge.benchmark.system import describe_machine, slug
from albert_edge.files import write_file

__all__ = [
    "SCHEMA",
    "Row",
    "document",
    "make_table",
    "render_comparison",
    "render_report",
    "write_document",
]

_FIGURES = ("file\nMB", "RAM\nMB", "load\nms", "first\nms", "median\nms", "p90\nms", "p99\nms")
_STYLES = {"worse": "bold red", "better": "green"}
_COMPARED = {
    "latency_ms": ("median ms", format_figure),
    "end_to_end_ms": ("from text ms", format_figure),
    "load_ms": ("load ms", format_figure),
    "first_ms": ("first ms", format_figure),
    "model_rss_bytes": ("RAM MB", format_megabytes),
    "energy_joules": ("energy J", format_figure),
    "size_bytes": ("file MB", format_megabytes),
    "error": ("error", format_percent),
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


def render_report(document: Mapping[str, Any]) -> Group:
    """Make what the verb prints: the best of every length first, then what is wrong or failed."""
    rows = sorted(document["rows"], key=_order)
    table = Table(
        title=_conditions(document["machine"]),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("\n#", justify="right")
    table.add_column("", overflow="fold")
    for heading in ("thr.", *_FIGURES):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        if index == 0 or rows[index - 1]["seq_len"] != row["seq_len"]:
            table.add_section()
            table.add_row("", Text(f"{row['seq_len']} tokens", style="bold"))
        place = "" if row["rank"] is None else str(row["rank"])
        table.add_row(place, _name(row), str(row["threads"]), *_figures(row))
    return Group(table, Text("\n".join(_notes(document)), style="dim"))


def _conditions(machine: Mapping[str, Any]) -> str:
    governors = machine["conditions"]["governors"]
    parts = [machine["model"], f"{machine['cores']} cores", *governors]
    return ", ".join(parts)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["seq_len"], row["rank"] is None, row["rank"] or 0, row["status"] == "error"


def _name(row: Mapping[str, Any]) -> Text:
    name = Text(row["name"], style="cyan")
    if row["status"] != "ok":
        word = "WRONG" if row["status"] == "wrong" else row["status"]
        name = Text(f"{word} ", style="bold red") + name
    doubts = ", ".join(doubt["code"] for doubt in row["warnings"])
    return name + Text(f"\n{doubts}", style="yellow") if doubts else name


def _figures(row: Mapping[str, Any]) -> list[str]:
    size = row["size_bytes"]
    cells = ["-" if size is None else f"{size / 1e6:.2f}"]
    if "latency_ms" not in row:
        return [*cells, *["-"] * (len(_FIGURES) - 1)]
    resident = row["model_rss_bytes"]
    times = ("load_ms", "first_ms", "latency_ms", "latency_p90_ms", "latency_p99_ms")
    return [
        *cells,
        "-" if resident is None else f"{resident / 1e6:.1f}",
        *(f"{row[name]:.3g}" if row[name] < 100 else f"{row[name]:.0f}" for name in times),
    ]


def _notes(document: Mapping[str, Any]) -> Sequence[str]:
    rows, rounds = document["rows"], document.get("settings", {}).get("rounds", 1)
    codes = {doubt["code"] for row in rows for doubt in row["warnings"]}
    least = min((row["n"] for row in rows if "n" in row), default=0)
    references = sorted(
        {row["fidelity"]["reference"]["name"] for row in rows if row["fidelity"] is not None}
    )
    measured = (
        f"Rounds: {rounds}, in turn, each in a fresh process; at least {least} warm "
        "runs a line. RAM: resident when warm, over the empty process. Outputs are "
        f"compared with those of {', '.join(references) or 'nothing'}, computed by the runtime's "
        "own kernels on the CPU."
    )
    return [
        measured,
        *(f"{code}: {meaning}" for code, meaning in WARNING_CODES.items() if code in codes),
    ]


# A comparison of two reports as a table for people.


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
    return Group(*_circumstances(found), table, *_comparison_notes(found))


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
    label, write = _COMPARED[name]
    word = change["verdict"] if change["verdict"] in _STYLES else ""
    style = _STYLES.get(word, "dim")
    low, high = change["low"], change["high"]
    between = "unknown" if low is None else "" if low == high else f"{low:.2f}-{high:.2f}"
    cells = (
        label,
        write(change["old"]),
        write(change["new"]),
        format_ratio(change["ratio"]),
        between,
    )
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


def _comparison_notes(found: Mapping[str, Any]) -> Iterator[Text]:
    rows = found["rows"]
    counts = Counter(row["verdict"] for row in rows)
    verdicts = ("broken", "worse", "mixed", "better", "same", "unknown")
    states = ", ".join(f"{counts[one]} {one}" for one in verdicts if counts[one])
    yield Text(f"{format_count(len(rows), 'configuration')} compared: {states}.")
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
    return f"{row['name']}, {format_count(row['threads'], 'thread')}, T={row['seq_len']}"


# Measurements as a table for people and as a JSON document for programs.


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a report.

    Attributes:
        name: Its name: the recipe, or a peer's.
        layout: The layout, or what else tells it from the lines of the same name.
        measurement: What was measured.
        verification: How the file compares with the Keras model, or None.
    """

    name: str
    layout: str
    measurement: Measurement
    verification: Mapping[str, Any] | None = None


def document(kind: str, rows: Sequence[Row], **more: Any) -> dict[str, Any]:
    """Make the JSON document of a report: the schema, the machine, the date and every row.

    Args:
        kind: What was run, such as `demo`.
        rows: The lines.
        more: Further fields.
    """
    begun = begin_document(kind, describe_machine())
    return {**begun, "complete": True, "rows": [_row_fields(row) for row in rows], **more}


def write_document(report: Mapping[str, Any], folder: Path) -> Path:
    """Write a report to `folder` as `<kind>-<machine>-<date>.json`; that day's earlier one goes.

    Raises:
        OutputError: It cannot be written.
    """
    name = f"{report['kind']}-{slug(report['machine'])}-{report['date']}.json"
    return write_file(folder / name, to_text(report).encode(), force=True)


def _row_fields(row: Row) -> dict[str, Any]:
    return {
        "accelerator": "cpu",
        "status": "ok",
        "rank": None,
        "warnings": system_warnings([row.measurement]),
        "error": None,
        "fidelity": None,
        **summarize_rounds([row.measurement]),
        "name": row.name,
        "layout": row.layout,
        "verification": row.verification,
    }


def make_table(rows: Sequence[Row], *, title: str) -> Table:
    """Make the table of a report, under 80 columns wide; rows of one name are kept together.

    The error is the root mean square of the difference over that of the reference's output; its
    column is left out if no row was verified.
    """
    verified = any(row.verification for row in rows)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("", style="bold cyan", no_wrap=True)
    table.add_column("\nlayout", no_wrap=True)
    headings = ["file\nMB", "load\nms", "first\nms", "median\nms", "p90\nms", "RAM\nMB"]
    for heading in [*headings, *["error\n%", "same\nanswer"] * verified]:
        table.add_column(heading, justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        again = index > 0 and rows[index - 1].name == row.name
        last = index + 1 == len(rows) or rows[index + 1].name != row.name
        cells = [*_measured(row.measurement), *_verified(row.verification) * verified]
        table.add_row("" if again else row.name, row.layout, *cells, end_section=last)
    return table


def _measured(one: Measurement) -> list[str]:
    times = (one.load_ms, one.first_ms, one.latency_ms, one.percentile_ms(90))
    resident = one.model_bytes("rss")
    memory = None if resident is None else resident / 1e6
    return [f"{one.size_bytes / 1e6:.2f}", *(f"{time:.1f}" for time in times), _or(memory, ".1f")]


def _verified(figures: Mapping[str, Any] | None) -> list[str]:
    if figures is None:
        return ["-", "-"]
    error = max(output["error"] for output in figures["outputs"].values())
    return [f"{error:.4%}"[:-1], _or(figures["agreement"], ".0%")]


def _or(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
