"""Measurements as a table for people and as a JSON document for programs."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from albert_edge.benchmark.machine import describe_machine, slug
from albert_edge.benchmark.measure import Measurement
from albert_edge.files import write_file

__all__ = ["SCHEMA", "Row", "document", "make_table", "write_document"]

SCHEMA = "albert_edge.benchmark/1"


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
    return {
        "schema": SCHEMA,
        "kind": kind,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": describe_machine(),
        "rows": [_row_fields(row) for row in rows],
        **more,
    }


def write_document(report: Mapping[str, Any], folder: Path) -> Path:
    """Write a report to `folder` as `<kind>-<machine>-<date>.json`; that day's earlier one goes.

    Raises:
        OutputError: It cannot be written.
    """
    name = f"{report['kind']}-{slug(report['machine'])}-{report['date']}.json"
    text = json.dumps(report, indent=1) + "\n"
    # A list of numbers on one line: thousands of samples are not worth a line each.
    text = re.sub(r"\[[-\d.,e\s]+\]", lambda match: re.sub(r"\s+", " ", match[0]), text)
    return write_file(folder / name, text.encode(), force=True)


def _row_fields(row: Row) -> dict[str, Any]:
    one = row.measurement
    return {
        "name": row.name,
        "layout": row.layout,
        "task": one.task,
        "engine": one.engine,
        "threads": one.threads,
        "seq_len": len(one.input_ids),
        "size_bytes": one.size_bytes,
        "import_ms": one.import_ms,
        "load_ms": one.load_ms,
        "first_ms": one.first_ms,
        "latency_ms": one.latency_ms,
        "latency_p90_ms": one.percentile_ms(90),
        "latency_p99_ms": one.percentile_ms(99),
        "latency_min_ms": one.min_ms,
        "cpu_ms": one.cpu_ms,
        "n": len(one.samples_ns),
        "samples_ns": list(one.samples_ns),
        "cpu_samples_ns": list(one.cpu_samples_ns),
        "empty_rss_bytes": one.empty_rss_bytes,
        "model_rss_bytes": one.model_rss_bytes,
        "model_anonymous_bytes": one.model_anonymous_bytes,
        "model_file_bytes": one.model_file_bytes,
        "peak_rss_bytes": one.peak_rss_bytes,
        "outputs_sha256": {name: _digest(array) for name, array in one.outputs.items()},
        "verification": row.verification,
    }


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def make_table(rows: Sequence[Row], *, title: str) -> Table:
    """Make the table of a report, under 80 columns wide; rows of one name are kept together.

    The error is the root mean square of the difference over that of the reference's output; its
    column is left out if no row was verified.
    """
    verified = any(row.verification for row in rows)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("", style="bold cyan", no_wrap=True)
    table.add_column("\nlayout", no_wrap=True)
    headings = ["file\nMB", "load\nms", "first\nms", "median\nms", "p90\nms", "memory\nMB"]
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
    memory = None if one.model_rss_bytes is None else one.model_rss_bytes / 1e6
    return [f"{one.size_bytes / 1e6:.2f}", *(f"{time:.1f}" for time in times), _or(memory, ".1f")]


def _verified(figures: Mapping[str, Any] | None) -> list[str]:
    if figures is None:
        return ["-", "-"]
    error = max(output["error"] for output in figures["outputs"].values())
    return [f"{error:.4%}"[:-1], _or(figures["agreement"], ".0%")]


def _or(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
