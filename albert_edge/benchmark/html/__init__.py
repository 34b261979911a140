"""Write a report of `albert-edge benchmark` as one self-contained HTML page.

The page needs no other file: it contains no script, font, image or style sheet from elsewhere, and
a policy that forbids the browser to load any.  It is built of elements, never of joined strings, so
that no file name becomes markup.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from albert_edge.benchmark.format import format_cores, format_count
from albert_edge.benchmark.html.elements import (
    Element,
    bdi,
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

__all__ = ["page_of", "write_page"]


def write_page(
    report: Mapping[str, Any], path: str | os.PathLike[str], *, force: bool = False
) -> Path:
    """Write the page of a report.

    Args:
        report: The result of `benchmark`, `benchmark_boards` or `read_any_report`.
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
        report: A report as `schema.json` describes it, or one of several devices.

    Returns:
        The HTML text.

    Raises:
        ReportError: A field is missing, or has a value of another type or range.
    """
    with reraise_as_report_error():
        return page_of(*(_boards(report) if "boards" in report else _report(report)))


def page_of(title: str, *parts: Element) -> str:
    """Return a page with these parts, in the style of all pages."""
    body = element("body", marker_shapes(), *parts)
    page = element("html", _head(title), body, lang="en")
    return f"<!DOCTYPE html>\n{serialize(page)}\n"


def _report(report: Mapping[str, Any]) -> Iterator[Any]:
    yield f"{report['machine']['model']}, {report['date']}: albert-edge {report['kind']}"
    yield from (_header(report), element("main", *_sections(report)), _footer(report))


def _boards(report: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the title and the parts of several devices, each with sections of its own."""
    boards = report["boards"]
    yield (title := f"albert-edge benchmark on {format_count(len(boards), 'device')}")
    links = [
        element("li", element("a", bdi(board["device"]), href=f"#board-{number}"), _state(board))
        for number, board in enumerate(boards)
    ]
    yield element("header", element("h1", title), element("ul", *links))
    for number, board in enumerate(boards):
        yield from _board(number, board)
    yield from [_footer(one["report"]) for one in boards if one["report"] is not None][:1]


def _state(board: Mapping[str, Any]) -> str:
    report = board["report"]
    if board["error"] is not None:
        return ": failed"
    correct = sum(row["status"] == "ok" for row in report["rows"])
    rows = format_count(len(report["rows"]), "configuration")
    return f": {report['machine']['model']}, {correct} of {rows} with correct outputs"


def _board(number: int, board: Mapping[str, Any]) -> Iterator[Element]:
    report, error = board["report"], board["error"]
    name = element("h2", bdi(board["device"]), id=f"board-{number}")
    failure = error and element("p", f"Failed: {error['message']}", class_="alert bad")
    yield element("section", name, failure)
    if report is None:
        return
    main = element("main", *_sections(report))
    for part in main.iter():  # what a link of a section goes to is in the same board's
        if "id" in part.attrib:
            part.set("id", f"{part.get('id')}-{number}")
        elif part.tag == "a" and str(part.get("href")).startswith("#"):
            part.set("href", f"{part.get('href')}-{number}")
    yield _header(report)
    yield main


def _sections(report: Mapping[str, Any]) -> list[Element]:
    rows = prepare_rows(report)
    return [
        summary(report, rows),
        ranking(rows),
        *failures(rows),
        *sample_distributions(rows),
        *latency_curves(rows),
        *tradeoffs(rows),
        *warnings_section(rows),
        system_section(report),
    ]


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
