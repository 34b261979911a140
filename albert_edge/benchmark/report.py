"""Measurements as a table for people and as a JSON document for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from albert_edge.benchmark.document import SCHEMA, begin_document, to_text
from albert_edge.benchmark.figures import figures
from albert_edge.benchmark.health import doubts_of_conditions
from albert_edge.benchmark.machine import describe_machine, slug
from albert_edge.benchmark.measure import Measurement
from albert_edge.files import write_file

__all__ = ["SCHEMA", "Row", "document", "make_table", "write_document"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a report.

    Attributes:
        name: Its name: the recipe, or a peer's.
        layout: The layout, or what else tells it from the lines of the same name.
        measurement: What was measured.
        verification: How the file compares with the Keras model: what `lite.verify` found, or None.
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
        "warnings": doubts_of_conditions([row.measurement]),
        "error": None,
        "fidelity": None,
        **figures([row.measurement]),
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
