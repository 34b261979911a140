"""The JSON document of a report: its version, its text, and reading it again."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from albert_edge.errors import ReportError

__all__ = ["SCHEMA", "begin_document", "read_document", "to_text", "undamaged"]

# schema.json, beside this module, describes it, and README.md says what is in it.  The number goes
# up when a field changes its meaning or goes; new fields may come.
SCHEMA = "albert_edge.benchmark/3"


def begin_document(kind: str, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Begin a document: the schema, what was run, the day, and the machine."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": dict(machine),
    }


def to_text(document: Mapping[str, Any]) -> str:
    """Write a document as JSON, indented, but a list of numbers on one line: it may be long.

    Raises:
        ValueError: There is a number in it that JSON does not know.
    """
    return _indented(document, "\n") + "\n"


def _indented(value: Any, line_end: str) -> str:
    inner = line_end + " "
    if value and isinstance(value, Mapping):
        pairs = (f"{json.dumps(key)}: {_indented(one, inner)}" for key, one in value.items())
        return f"{{{inner}{f',{inner}'.join(pairs)}{line_end}}}"
    if isinstance(value, (list, tuple)) and not all(isinstance(one, (int, float)) for one in value):
        return f"[{inner}{f',{inner}'.join(_indented(one, inner) for one in value)}{line_end}]"
    return json.dumps(value, allow_nan=False)


@contextmanager
def undamaged() -> Iterator[None]:
    """Say that a report is damaged where it lacks a field, or one is not what it should be.

    Raises:
        ReportError: It is.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ReportError(f"the report is damaged: {error!r}; measure again.") from error


def read_document(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        ReportError: It cannot be read, is no report, or one of another version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is not JSON: {error}.") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema == SCHEMA:
        known: dict[str, Any] = document
        return known
    if not isinstance(schema, str) or not schema.startswith("albert_edge.benchmark/"):
        raise ReportError(
            f"{path} is no report of albert-edge benchmark: its schema is {schema!r}."
        )
    raise ReportError(
        f"{path} is written in {schema}, and this version reads {SCHEMA}: measure again, or use "
        "the version of albert_edge that wrote it."
    )
