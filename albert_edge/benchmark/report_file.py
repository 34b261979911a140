"""The JSON report of a measurement: its fields, its text, and its file.

`schema.json`, beside this module, describes every field, and README.md what they mean.
`make_report` builds a report from single measurements; `albert_edge.benchmark.run` builds its own.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.statistics import rank, summarize_rounds, system_warnings
from albert_edge.benchmark.system import describe_machine, slug
from albert_edge.errors import OutputError, ReportError
from albert_edge.files import check_writable, dump_json, parse_json, read_input, write_file

__all__ = ["Row", "make_report", "reraise_as_report_error", "to_json"]

# The number goes up when a field changes its meaning or is removed, not when one is added.
SCHEMA = "albert_edge.benchmark/4"
# What is read too: the fields of 4 that 3 lacks are those of emulated processors.
_OLDER_SCHEMAS = ("albert_edge.benchmark/3",)
# A run can be resumed if these fields are the same; of `machine`, only the second ones count.
_RUN_FIELDS = ("kind", "device", "settings", "files", "machine")
_MACHINE_FIELDS = ("model", "kernel", "python", "versions")
_MAX_DEPTH = 64  # of objects and lists; a report has 8
_MAX_NUMBER = 2**63  # of a count of bytes or nanoseconds
_TYPES: dict[str, Any] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}


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
        OutputError: It contains NaN or infinity, which JSON cannot express.
    """
    return _indented(report, "\n") + "\n"


def _indented(value: Any, line_end: str) -> str:
    inner = line_end + " "
    if value and isinstance(value, Mapping):
        pairs = (f"{dump_json(key)}: {_indented(item, inner)}" for key, item in value.items())
        return f"{{{inner}{f',{inner}'.join(pairs)}{line_end}}}"
    if isinstance(value, (list, tuple)) and not all(isinstance(x, (int, float)) for x in value):
        items = f",{inner}".join(_indented(item, inner) for item in value)
        return f"[{inner}{items}{line_end}]"
    return dump_json(value)


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
    """Read a report and check it against `schema.json`.

    Raises:
        ReportError: The file cannot be read, is not a report, is one of another version, or is
            damaged: a field is missing, of another type or range, or contradicts another.
    """
    return check_report(read_document(path), path)


def read_document(path: Path) -> dict[str, Any]:
    """Read a file of JSON, which is not checked yet.

    Raises:
        ReportError: It cannot be read, or is not a JSON object.
    """
    try:
        return parse_json(read_input(path), where=str(path), error=ReportError)
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}.") from error


def check_report(report: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check what was read from `path` against `schema.json`, and return it in this version.

    Raises:
        ReportError: As of `read_report`.
    """
    schema = report.get("schema")
    if isinstance(schema, str) and schema in (SCHEMA, *_OLDER_SCHEMAS):
        report = {**report, "schema": SCHEMA}
        fault = next(_find_faults(report), None)
        if fault is not None:
            raise ReportError(f"{path} is damaged: {fault}; measure again.")
        return report
    if not isinstance(schema, str) or not schema.startswith("albert_edge.benchmark/"):
        raise ReportError(
            f"{path} is not a report of albert-edge benchmark: its schema is {schema!r}."
        )
    raise ReportError(
        f"{path} is written in {schema}, and this version reads {SCHEMA}: measure again, or use "
        "the version of albert_edge that wrote it."
    )


def find_fault(value: Any, part: str) -> str | None:
    """Return where what a device returned contradicts `schema.json`, None if it does not.

    Args:
        value: A machine, a row of a report, or the fields of a measurement.
        part: "machine", "row" or "measurement".
    """
    if part == "measurement":  # fields of the same names, before anything is computed from them
        schema = {"properties": _load_schema()["$defs"]["row"]["properties"]}
    else:
        schema = _load_schema()["properties" if part == "machine" else "$defs"][part]
    faults = (*_value_faults([value]), *_schema_faults(value, schema, part))
    return faults[0] if faults else None


def _find_faults(report: dict[str, Any]) -> Iterator[str]:
    yield from _value_faults(report)
    yield from _schema_faults(report, _load_schema(), "report")
    if report["kind"] == "benchmark":
        yield from _contradictions(report)


def _value_faults(report: Any) -> Iterator[str]:
    """Yield what no field may contain, those included that `schema.json` does not name."""
    level: list[Any] = [report]
    for _ in range(_MAX_DEPTH):
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        values = [value for one in inner for value in one]
        numbers = (one for one in values if isinstance(one, (int, float)))
        for number in numbers:
            if not abs(number) <= _MAX_NUMBER:
                yield f"it contains the number {reprlib.repr(number)}"
        level = [one for one in values if isinstance(one, (dict, list))]
    if level:
        yield f"its objects are nested more than {_MAX_DEPTH} deep"


@cache
def _load_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(
        resources.files("albert_edge.benchmark").joinpath("schema.json").read_bytes()
    )
    return schema


def _schema_faults(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield where a value contradicts a schema.

    Only for the keywords of JSON Schema that `schema.json` uses; a test compares the results with
    those of the jsonschema package.
    """
    if "$ref" in schema:
        schema = _load_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    if "oneOf" in schema:  # always an object or null
        schema = {**schema["oneOf"][0], "type": ["object", "null"]}
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    types = schema.get("type", [*_TYPES])
    types = [types] if isinstance(types, str) else types
    if choices is not None and value not in choices:
        yield f"{where} is {reprlib.repr(value)}; expected {' or '.join(map(str, choices))}"
    elif not any(_is_of_type(value, one) for one in types):
        yield f"{where} is {reprlib.repr(value)}; expected {' or '.join(types)}"
    elif isinstance(value, dict):
        yield from _object_faults(value, schema, where)
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
            yield f"{where} contains {len(value)} values"
        for number, item in enumerate(value):
            yield from _schema_faults(item, schema.get("items", {}), f"{where}[{number}]")
    elif isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{where} is {reprlib.repr(value)}; expected {schema['pattern']}"
    elif isinstance(value, (int, float)) and value < schema.get("minimum", -math.inf):
        yield f"{where} is {value}; expected at least {schema['minimum']}"


def _is_of_type(value: Any, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _object_faults(
    value: Mapping[str, Any], schema: Mapping[str, Any], where: str
) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where} lacks {name}"
    known = schema.get("properties", {})
    for name, item in value.items():
        inner = known.get(name, schema.get("additionalProperties", {}))
        place = name if name in known else reprlib.repr(name)
        yield from _schema_faults(item, inner, f"{where}.{place}")
    if "if" in schema:
        holds = next(_schema_faults(value, schema["if"], where), None) is None
        yield from _schema_faults(value, schema.get("then" if holds else "else", {}), where)


def _contradictions(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield which fields of a report of `albert-edge benchmark` contradict each other."""
    rows, files = report["rows"], {file["name"]: file for file in report["files"]}
    keys = [(row["name"], row["accelerator"], row["threads"], row["seq_len"]) for row in rows]
    ranked = [dict(row) for row in rows]
    for row, key in zip(rows, keys, strict=True):
        where = f"row {key}"
        if keys.count(key) > 1:
            yield f"{where} occurs twice"
        if row.get("rounds") or "instructions_inference" in row:  # also if a later one failed
            measured = {**row, "status": "ok"}
            yield from _schema_faults(measured, _load_schema()["$defs"]["row"], where)
        if row.get("rounds"):
            yield from _round_faults(row, where)
        file = files.get(row["name"], {})
        if any(row.get(name) != file.get(name) for name in file if name != "seq_len") or not file:
            yield f"{where} differs from its entry in files"
        passed = row["fidelity"] and row["fidelity"]["passed"]
        expected = {"ok": True, "wrong": False, "pending": None}
        if row["status"] != "error" and expected[row["status"]] is not passed:
            yield f"{where} has the status {row['status']} with {reprlib.repr(row['fidelity'])}"
        if (row["status"] == "error") != (row["error"] is not None):
            yield f"{where} has the status {row['status']} with the error {row['error']}"
    if any(row["status"] == "pending" for row in rows) and report["complete"]:
        yield "it is complete with rows that are pending"
    rank(ranked)
    if [row["rank"] for row in rows] != [row["rank"] for row in ranked]:
        yield "the ranks do not follow the medians or counts"


def _round_faults(row: Mapping[str, Any], where: str) -> Iterator[str]:
    text_samples = (row["end_to_end"] or {"samples_ns": []})["samples_ns"]
    counted = {"n": (row["samples_ns"], row["cpu_samples_ns"]), "text_n": (text_samples,)}
    for name, lists in counted.items():
        total = sum(one[name] for one in row["rounds"])
        if any(len(samples) != total for samples in lists):
            yield f"{where} has other samples than {name} of its rounds counts"


def open_report(
    path: str | os.PathLike[str] | None,
    models: Sequence[Path],
    *,
    resume: bool = False,
    force: bool = False,
    read: Callable[[Path], dict[str, Any]] = read_report,
) -> dict[str, Any] | None:
    """Check that a report can be written to `path`; read the existing one if it is to be resumed.

    Args:
        path: The report; None for no file.
        models: The model files, which the report must not overwrite.
        resume: Whether to read an existing report.
        force: Whether an existing file may be overwritten.
        read: How to read an existing report.

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
    return read(target) if resumes else None


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
