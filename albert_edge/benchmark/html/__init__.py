"""A report of `albert-edge benchmark` as one page to send to a colleague.

The page is whole in one file: no script, no font, picture or style from elsewhere, and a policy
that forbids a browser to fetch any.  It is made of elements, never of joined strings, so that no
file name becomes markup.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert_edge.benchmark.format import format_count
from albert_edge.benchmark.html.elements import Element, element, prepare_rows, serialize
from albert_edge.benchmark.html.latency import curves, distributions
from albert_edge.benchmark.html.summary import failures, summary, warnings_section
from albert_edge.benchmark.html.svg import shapes
from albert_edge.benchmark.html.tables import ranking, system_section
from albert_edge.benchmark.html.tradeoffs import tradeoffs
from albert_edge.benchmark.report_file import as_report_error
from albert_edge.files import write_file

__all__ = ["render_page", "write_page"]


def write_page(
    document: Mapping[str, Any], path: str | os.PathLike[str], *, force: bool = False
) -> Path:
    """Write the page of a report.

    Args:
        document: What `benchmark` returned, or `read_document` read.
        path: Where; such as `report.html`.
        force: Whether an existing file may be replaced.

    Raises:
        OutputError: It cannot be written, or exists and `force` is false.
        ReportError: The report is damaged.
    """
    # A file name need not be Unicode; what is not is written as \\udc.., not refused.
    blob = render_page(document).encode("utf-8", "backslashreplace")
    return write_file(path, blob, force=force)


def render_page(document: Mapping[str, Any]) -> str:
    """Make the page of a report.

    Args:
        document: As `schema.json` describes it.

    Returns:
        HTML, in one piece.

    Raises:
        ReportError: A field is missing or no such value as it should be.
    """
    with as_report_error():
        return f"<!DOCTYPE html>\n{serialize(_page(document))}\n"


def _page(document: Mapping[str, Any]) -> Element:
    rows = prepare_rows(document)
    sections = [
        summary(document, rows),
        ranking(rows),
        *failures(rows),
        *distributions(rows),
        *curves(rows),
        *tradeoffs(rows),
        *warnings_section(rows),
        system_section(document),
    ]
    title = f"{document['machine']['model']}, {document['date']}: albert-edge {document['kind']}"
    body = element(
        "body", shapes(), _header(document), element("main", *sections), _footer(document)
    )
    return element("html", _head(title), body, lang="en")


def _head(title: str) -> Element:
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
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


def _header(document: Mapping[str, Any]) -> Element:
    rows, machine = document["rows"], document["machine"]
    right = sum(row["status"] == "ok" for row in rows)
    files = format_count(len({row["name"] for row in rows}), "file")
    words = [
        f"{files} in {format_count(len(rows), 'configuration')}, {right} of them right",
        format_count(machine["cores"], "core"),
        *machine["conditions"]["governors"],
        *sorted({row["runtime"] for row in rows if row.get("runtime")}),
        document["date"],
    ]
    kind = element("p", f"albert-edge {document['kind']}", class_="kind")
    facts = element("p", " · ".join(words), class_="note")
    return element("header", kind, element("h1", machine["model"]), facts)


def _footer(document: Mapping[str, Any]) -> Element:
    version = document["machine"]["versions"].get("albert_edge", "")
    return element("footer", f"Measured with albert_edge {version}; {document['schema']}.")
