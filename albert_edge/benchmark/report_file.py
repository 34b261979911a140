"""The JSON document of a report: its version, its text, and reading it again."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from albert_edge.errors import OutputError, ReportError
from albert_edge.files import check_writable, write_file

__all__ = [
    "SCHEMA",
    "as_report_error",
    "begin_document",
    "check_same_run",
    "open_report",
    "read_document",
    "save_report",
    "to_text",
]

# schema.json, beside this module, describes it, and README.md says what is in it.  The number goes
# up when a field changes its meaning or goes; new fields may come.
SCHEMA = "albert_edge.benchmark/3"
_OF_A_RUN = ("kind", "device", "settings", "files", "machine")
# Of a machine, what another run of the same may not differ in.
_LASTING = ("model", "kernel", "python", "versions")


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
def as_report_error() -> Iterator[None]:
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


# The report in a file while it grows, and going on with one that was interrupted.


def open_report(
    path: str | os.PathLike[str] | None,
    measured: Sequence[Path],
    *,
    resume: bool = False,
    force: bool = False,
) -> dict[str, Any] | None:
    """Check that a report can be kept in `path`, and read the one there if it is to be resumed.

    Args:
        path: Where; None to keep none.
        measured: The files to be measured, which it must not replace.
        resume: Whether to read what is there, if anything is.
        force: Whether what is there may be replaced.

    Raises:
        OutputError: It cannot be written, or exists and neither `resume` nor `force` is given.
        ReportError: What is there cannot be resumed: it is no report, or of another version.
    """
    if path is None:
        return None
    target = Path(path)
    if target.resolve() in [file.resolve() for file in measured]:
        raise OutputError(
            f"{target} is one of the files to be measured; keep the report elsewhere."
        )
    resumes = resume and target.exists()
    check_writable(target, force=force or resumes)
    return read_document(target) if resumes else None


def check_same_run(document: Mapping[str, Any], kept: Mapping[str, Any], *, where: str) -> None:
    """Check that a report is of the same files, settings and machine as the run that goes on.

    Raises:
        ReportError: It is not.
    """
    for name in _OF_A_RUN:
        now, then = document[name], kept.get(name)
        if name == "machine":
            now, then = ({key: (one or {}).get(key) for key in _LASTING} for one in (now, then))
        if now != then:
            raise ReportError(
                f"{where} cannot be resumed, its {name} was another: {then}, and now {now}. "
                "Give what it was begun with, or --force to begin anew."
            )


def save_report(path: str | os.PathLike[str] | None, document: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all, over the one that is there; nothing if `path` is None.

    Raises:
        OutputError: It cannot be written.
    """
    if path is not None:
        write_file(path, to_text(document).encode(), force=True)
