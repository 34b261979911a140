"""Write a report of `albert-edge benchmark` as one self-contained HTML page.

The page needs no other file: it contains no script, font, image or style sheet from elsewhere, and
a policy that forbids the browser to load any.  It is built of elements, never of joined strings, so
that no file name becomes markup.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from albert_edge.benchmark.format import format_cores, format_count
from albert_edge.benchmark.html.elements import (
    Element,
    element,
    marker_shapes,
    prepare_rows,
    serialize,
)
from albert_edge.benchmark.html.latency import latency_curves, sample_distributions
from albert_edge.benchmark.html.summary import failures, summary, warnings_section
from albert_edge.benchmark.html.tables import ranking, system_section
from albert_edge.benchmark.html.tradeoffs import tradeoffs
from albert_edge.benchmark.report_file import reraise_as_report_error
from albert_edge.files import write_file

__all__ = ["write_page"]


def write_page(
    report: Mapping[str, Any], path: str | os.PathLike[str], *, force: bool = False
) -> Path:
    """Write the page of a report.

    Args:
        report: The result of `benchmark` or `read_report`.
        path: The page's file, such as `report.html`.
        force: Whether an existing file may be overwritten.

    Raises:
        OutputError: It cannot be written, or exists and `force` is false.
        ReportError: The report is damaged.
    """
    # A file name need not be valid Unicode; invalid bytes are written as \\udc...
    blob = render_page(report).encode("utf-8", "backslashreplace")
    return write_file(path, blob, force=force)


def render_page(report: Mapping[str, Any]) -> str:
    """Render the page of a report.

    Args:
        report: A report as `schema.json` describes it.

    Returns:
        The HTML text.

    Raises:
        ReportError: A field is missing, or has a value of another type or range.
    """
    with reraise_as_report_error():
        return f"<!DOCTYPE html>\n{serialize(_page(report))}\n"


def _page(report: Mapping[str, Any]) -> Element:
    rows = prepare_rows(report)
    sections = [
        summary(report, rows),
        ranking(rows),
        *failures(rows),
        *sample_distributions(rows),
        *latency_curves(rows),
        *tradeoffs(rows),
        *warnings_section(rows),
        system_section(report),
    ]
    title = f"{report['machine']['model']}, {report['date']}: albert-edge {report['kind']}"
    body = element(
        "body", marker_shapes(), _header(report), element("main", *sections), _footer(report)
    )
    return element("html", _head(title), body, lang="en")


def _head(title: str) -> Element:
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", style),
    )


def _header(report: Mapping[str, Any]) -> Element:
    rows, machine = report["rows"], report["machine"]
    correct = sum(row["status"] == "ok" for row in rows)
    files = format_count(len({row["name"] for row in rows}), "file")
    facts = [
        f"{files} in {format_count(len(rows), 'configuration')}, {correct} with correct outputs",
        format_cores(machine),
        *machine["conditions"]["governors"],
        *sorted({row["runtime"] for row in rows if row.get("runtime")}),
        report["date"],
    ]
    kind = element("p", f"albert-edge {report['kind']}", class_="kind")
    note = element("p", " · ".join(facts), class_="note")
    return element("header", kind, element("h1", machine["model"]), note)


def _footer(report: Mapping[str, Any]) -> Element:
    version = report["machine"]["versions"].get("albert_edge", "")
    return element("footer", f"Measured with albert_edge {version}; {report['schema']}.")
