"""The JSON report of a measurement: its fields, its text, and its file.

`schema.json`, beside this module, describes every field, and README.md what they mean.
`make_report` builds a report from single measurements; `albert_edge.benchmark.run` builds its own.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.statistics import summarize_rounds, system_warnings
from albert_edge.benchmark.system import describe_machine, slug
from albert_edge.errors import OutputError, ReportError
from albert_edge.files import check_writable, write_file

__all__ = [
    "SCHEMA",
    "Row",
    "check_same_run",
    "make_report",
    "open_report",
    "read_report",
    "report_header",
    "reraise_as_report_error",
    "save_dated_report",
    "save_report",
    "to_json",
]

# The number goes up when a field changes its meaning or is removed, not when one is added.
SCHEMA = "albert_edge.benchmark/3"
# A run can be resumed if these fields are the same; of `machine`, only the second ones count.
_RUN_FIELDS = ("kind", "device", "settings", "files", "machine")
_MACHINE_FIELDS = ("model", "kernel", "python", "versions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement in a report or table.

    Attributes:
        name: Its name: the recipe, or a peer's name.
        layout: The layout, or what else distinguishes rows of one name.
        measurement: The measurement.
        verification: How the file compares with the Keras model, or None.
    """

    name: str
    layout: str
    measurement: Measurement
    verification: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row of a report, ready for JSON."""
        return {
            "accelerator": "cpu",
            "status": "ok",
            "rank": None,
            "warnings": system_warnings([self.measurement]),
            "error": None,
            "fidelity": None,
            **summarize_rounds([self.measurement]),
            "name": self.name,
            "layout": self.layout,
            "verification": self.verification,
        }


def make_report(kind: str, rows: Sequence[Row], **more: Any) -> dict[str, Any]:
    """Build the report of a program that measures: schema, machine, date and every row.

    Args:
        kind: The program, such as `demo`.
        rows: The measurements.
        more: Further fields.
    """
    header = report_header(kind, describe_machine())
    return {**header, "complete": True, "rows": [row.to_dict() for row in rows], **more}


def report_header(kind: str, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first fields of a report: schema, kind, date and machine."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": dict(machine),
    }


def to_json(report: Mapping[str, Any]) -> str:
    """Write a report as JSON, indented, but each list of numbers on one line: it may be long.

    Raises:
        ValueError: It contains NaN or infinity, which JSON cannot express.
    """
    return _indented(report, "\n") + "\n"


def _indented(value: Any, line_end: str) -> str:
    inner = line_end + " "
    if value and isinstance(value, Mapping):
        pairs = (f"{json.dumps(key)}: {_indented(item, inner)}" for key, item in value.items())
        return f"{{{inner}{f',{inner}'.join(pairs)}{line_end}}}"
    if isinstance(value, (list, tuple)) and not all(isinstance(x, (int, float)) for x in value):
        items = f",{inner}".join(_indented(item, inner) for item in value)
        return f"[{inner}{items}{line_end}]"
    return json.dumps(value, allow_nan=False)


@contextmanager
def reraise_as_report_error() -> Iterator[None]:
    """Raise the errors of reading a report's fields as `ReportError`.

    Raises:
        ReportError: A field is missing, or is not of the type or range that it should be.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ReportError(f"the report is damaged: {error!r}; measure again.") from error


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        ReportError: The file cannot be read, is not a report, or is one of another version.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is not JSON: {error}.") from error
    schema = report.get("schema") if isinstance(report, dict) else None
    if schema == SCHEMA:
        current: dict[str, Any] = report
        return current
    if not isinstance(schema, str) or not schema.startswith("albert_edge.benchmark/"):
        raise ReportError(
            f"{path} is not a report of albert-edge benchmark: its schema is {schema!r}."
        )
    raise ReportError(
        f"{path} is written in {schema}, and this version reads {SCHEMA}: measure again, or use "
        "the version of albert_edge that wrote it."
    )


def open_report(
    path: str | os.PathLike[str] | None,
    models: Sequence[Path],
    *,
    resume: bool = False,
    force: bool = False,
) -> dict[str, Any] | None:
    """Check that a report can be written to `path`; read the existing one if it is to be resumed.

    Args:
        path: The report; None for no file.
        models: The model files, which the report must not overwrite.
        resume: Whether to read an existing report.
        force: Whether an existing file may be overwritten.

    Raises:
        OutputError: It cannot be written, or exists and neither `resume` nor `force` is given.
        ReportError: It cannot be resumed: it is not a report, or one of another version.
    """
    if path is None:
        return None
    target = Path(path)
    if target.resolve() in [model.resolve() for model in models]:
        raise OutputError(
            f"{target} is one of the files to be measured; write the report elsewhere."
        )
    resumes = resume and target.exists()
    check_writable(target, force=force or resumes)
    return read_report(target) if resumes else None


def check_same_run(report: Mapping[str, Any], saved: Mapping[str, Any], *, where: str) -> None:
    """Check that a saved report has the files, settings and machine of the run that resumes it.

    Raises:
        ReportError: They differ.
    """
    for name in _RUN_FIELDS:
        now, before = report[name], saved.get(name)
        if name == "machine":
            now, before = (
                {key: (machine or {}).get(key) for key in _MACHINE_FIELDS}
                for machine in (now, before)
            )
        if now != before:
            raise ReportError(
                f"{where} cannot be resumed, because its {name} differs: {before}, and now {now}. "
                "Repeat the options of the first run, or give --force to start over."
            )


def save_report(path: str | os.PathLike[str] | None, report: Mapping[str, Any]) -> None:
    """Write a report, replacing an existing one as a whole; do nothing if `path` is None.

    Raises:
        OutputError: It cannot be written.
    """
    if path is not None:
        write_file(path, to_json(report).encode(), force=True)


def save_dated_report(report: Mapping[str, Any], folder: Path) -> Path:
    """Write a report to `folder` as `<kind>-<machine>-<date>.json`, replacing that day's.

    Raises:
        OutputError: It cannot be written.
    """
    path = folder / f"{report['kind']}-{slug(report['machine'])}-{report['date']}.json"
    return write_file(path, to_json(report).encode(), force=True)
