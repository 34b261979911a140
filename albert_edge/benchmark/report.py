"""Measurements as a table for people and as a JSON document for programs."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from albert_edge.benchmark.machine import describe_machine
from albert_edge.benchmark.measure import Measurement

__all__ = ["SCHEMA", "Row", "document", "make_table"]

SCHEMA = "albert_edge.benchmark/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a report.

    Attributes:
        name: Its name: the recipe, or a peer's.
        layout: The layout, or what else tells it from the lines of the same name.
        measurement: What was measured.
        verification: How the file compares with the Keras model, such as `cosine`; may be empty.
    """

    name: str
    layout: str
    measurement: Measurement
    verification: Mapping[str, Any] = field(default_factory=dict)


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
        "n": len(one.samples_ns),
        "samples_ns": list(one.samples_ns),
        "empty_rss_bytes": one.empty_rss_bytes,
        "model_rss_bytes": one.model_rss_bytes,
        "model_anonymous_bytes": one.model_anonymous_bytes,
        "model_file_bytes": one.model_file_bytes,
        "peak_rss_bytes": one.peak_rss_bytes,
        "outputs_sha256": {name: _digest(array) for name, array in one.outputs.items()},
        "verification": dict(row.verification),
    }


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def make_table(rows: Sequence[Row], *, title: str) -> Table:
    """Make the table of a report, 80 columns wide; rows of one name are kept together.

    The column of cosines is left out if no row was verified.
    """
    verified = any("cosine" in row.verification for row in rows)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="bold")
    table.add_column("layout")
    headings = ["file\nMB", "load\nms", "first\nms", "median\nms", "p90\nms", "memory\nMB"]
    for heading in ["cosine\nto Keras"] * verified + headings:
        table.add_column(heading, justify="right")
    for index, row in enumerate(rows):
        again = index > 0 and rows[index - 1].name == row.name
        last = index + 1 == len(rows) or rows[index + 1].name != row.name
        cosine = [_number(row.verification.get("cosine"), 6)] * verified
        table.add_row(
            "" if again else row.name, row.layout, *cosine, *_cells(row), end_section=last
        )
    return table


def _cells(row: Row) -> list[str]:
    one = row.measurement
    times = (one.load_ms, one.first_ms, one.latency_ms, one.percentile_ms(90))
    return [
        _number(one.size_bytes / 1e6, 2),
        *(_number(time, 1) for time in times),
        _number(None if one.model_rss_bytes is None else one.model_rss_bytes / 1e6, 1),
    ]


def _number(value: float | None, digits: int) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"
