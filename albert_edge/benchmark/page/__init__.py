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

from albert_edge.benchmark.document import undamaged
from albert_edge.benchmark.page.conditions import conditions
from albert_edge.benchmark.page.latency import curves, distributions
from albert_edge.benchmark.page.marks import shapes
from albert_edge.benchmark.page.markup import Element, element, serialize
from albert_edge.benchmark.page.ranking import ranking
from albert_edge.benchmark.page.rows import labelled
from albert_edge.benchmark.page.tradeoffs import tradeoffs
from albert_edge.benchmark.page.verdicts import doubts, failures, verdict
from albert_edge.benchmark.words import plural
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
    with undamaged():
        return f"<!DOCTYPE html>\n{serialize(_page(document))}\n"


def _page(document: Mapping[str, Any]) -> Element:
    rows = labelled(document)
    sections = [
        verdict(document, rows),
        ranking(rows),
        *failures(rows),
        *distributions(rows),
        *curves(rows),
        *tradeoffs(rows),
        *doubts(rows),
        conditions(document),
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
    states = [row["status"] for row in rows]
    files = plural(len({row["name"] for row in rows}), "file")
    words = [
        f"{files} in {plural(len(rows), 'configuration')}, {states.count('ok')} of them right",
        plural(machine["cores"], "core"),
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
