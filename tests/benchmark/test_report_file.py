"""`albert_edge.benchmark.report_file`: the report agrees with `schema.json`."""

from __future__ import annotations

import copy
import io
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from albert_edge.benchmark import report_file as module
from albert_edge.benchmark.compare import compare_reports
from albert_edge.benchmark.console import render_comparison, render_report
from albert_edge.benchmark.html import render_page
from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.report_file import SCHEMA, Row, make_report, read_report, to_json
from albert_edge.benchmark.statistics import WARNING_CODES
from albert_edge.errors import OutputError, ReportError

DESCRIPTION = json.loads(Path(module.__file__).with_name("schema.json").read_text())


def test_the_schema_is_one_and_of_this_version() -> None:
    jsonschema.Draft202012Validator.check_schema(DESCRIPTION)
    assert DESCRIPTION["title"] == DESCRIPTION["properties"]["schema"]["const"] == SCHEMA
    codes = DESCRIPTION["$defs"]["warning"]["properties"]["code"]["enum"]
    assert codes == list(WARNING_CODES)


def test_every_field_is_explained() -> None:
    def fields(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(schema, list):
            schema = dict(enumerate(schema))
        for name, value in schema.items() if isinstance(schema, dict) else []:
            if name == "properties":
                yield from value.items()
            if name not in ("if", "then", "else"):  # those only name fields again
                yield from fields(value)

    found = list(fields(DESCRIPTION))
    assert len(found) > 100
    for name, field in found:
        assert field.keys() & {"description", "$ref", "const"} or "description" in str(field), name


def test_reports_of_other_programs_are_valid_too(measurement: Measurement) -> None:
    rows = [Row(name="int8", layout="loop", measurement=measurement)]
    report = json.loads(to_json(make_report("demo", rows, answers=[{"text": "a"}])))
    jsonschema.Draft202012Validator(DESCRIPTION).validate(report)


def test_text_is_the_same_document_and_keeps_numbers_together() -> None:
    value = {"a": [1, 2.5, 3], "b": {"c": [{"d": None}, {}], "e": []}, "f": [None], "g": 'é"\n'}
    text = to_json(value)
    assert json.loads(text) == value
    assert '"a": [1, 2.5, 3],\n' in text


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_cannot_express_is_an_error(number: float) -> None:
    with pytest.raises(OutputError, match="JSON"):
        to_json({"a": [1.0, number]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*: No such file"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", r"report\.json: expected a JSON object, got list"),
        (b"{}", "not a report of albert-edge benchmark: its schema is None"),
        (b'{"schema": "else/1", "schema": "else/2"}', "the key 'schema' occurs twice"),
        (b'{"schema": {"a": 1}}', "its schema is {'a': 1}"),
        (b'{"schema": "else/1"}', "its schema is 'else/1'"),
        (b'{"schema": "albert_edge.benchmark/1"}', "benchmark/1, and this version reads"),
        (b'{"schema": "albert_edge.benchmark/99"}', "benchmark/99, and this version reads"),
    ],
)
def test_a_file_that_is_not_a_report(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReportError, match=message):
        read_report(path)


Change = Callable[[dict[str, Any]], object]


def row_of(report: dict[str, Any], status: str) -> dict[str, Any]:
    return next(row for row in report["rows"] if row["status"] == status)


def change_row(status: str, /, **fields: Any) -> Change:
    return lambda report: row_of(report, status).update(fields)


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels else []


def fail_without_latency(report: dict[str, Any]) -> None:
    row = row_of(report, "ok")
    row.update(status="error", error={"type": "DeviceError", "message": "m"}, rank=None)
    del row["latency_ms"]


# What each does to a report of two rounds, and what the error then says.
DAMAGE: dict[str, tuple[Change, str]] = {
    "a field is missing": (lambda r: r["machine"].pop("kernel"), r"report\.machine lacks kernel"),
    "another type": (lambda r: r.update(rows={}), r"report\.rows is \{\}; expected array"),
    "a boolean number": (change_row("ok", threads=True), "True; expected integer"),
    "a fraction": (lambda r: row_of(r, "ok")["samples_ns"].append(1.5), r"1\.5; expected integer"),
    "out of range": (change_row("ok", latency_ms=-1.0), r"-1\.0; expected at least 0"),
    "no samples": (lambda r: row_of(r, "ok")["samples_ns"].clear(), "contains 0 values"),
    "a pattern": (lambda r: r.update(date="today"), r"report\.date is 'today'; expected"),
    "an unknown choice": (change_row("ok", status="fine"), "'fine'; expected ok or w"),
    "infinity": (change_row("ok", first_ms=math.inf), "contains the number inf"),
    "NaN in an unknown field": (lambda r: r.update(more=[math.nan]), "contains the number nan"),
    "a huge number": (change_row("ok", n=10**400), "contains the number 1000"),
    "too deep": (lambda r: r.update(more=nested(99)), "nested more than 64 deep"),
    "lost samples": (lambda r: row_of(r, "ok")["samples_ns"].pop(), "other samples than n of its"),
    "a lost round": (lambda r: row_of(r, "wrong")["rounds"].pop(), "other samples than n of its"),
    "a round without samples": (lambda r: row_of(r, "ok")["rounds"][0].update(n=0), "at least 1"),
    "another size": (change_row("ok", size_bytes=7), "differs from its entry in files"),
    "an unknown file": (change_row("ok", name="x"), "differs from its entry in files"),
    "a row twice": (lambda r: r["rows"].append(r["rows"][0]), "occurs twice"),
    "wrong called ok": (change_row("wrong", status="ok"), r"the status ok with \{"),
    "an error called pending": (change_row("error", status="pending"), r"with the error \{"),
    "not compared": (change_row("ok", fidelity=None), "the status ok with None"),
    "not complete": (change_row("error", status="pending", error=None), "with rows that are pendi"),
    "a better rank": (change_row("ok", rank=9), "ranks do not follow the medians or counts"),
    "an error whose rounds lack a field": (fail_without_latency, "row .* lacks latency_ms"),
}


@pytest.mark.parametrize(("change", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_report_is_an_error_that_names_the_field(
    change: Change, message: str, report: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    damaged = json.loads(to_json(report))
    path.write_text(json.dumps(damaged))
    assert read_report(path) == damaged
    change(damaged)
    path.write_text(json.dumps(damaged))
    with pytest.raises(ReportError, match=rf"report\.json is damaged: .*{message}"):
        read_report(path)


def test_a_report_of_instructions(counted_report: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(to_json(counted_report))
    assert read_report(path) == counted_report
    jsonschema.Draft202012Validator(DESCRIPTION).validate(counted_report)
    damage: list[tuple[Change, str]] = [
        (lambda r: row_of(r, "ok").pop("instructions_load"), "lacks instructions_load"),
        (lambda r: row_of(r, "ok").pop("instructions_inference"), "lacks import_ms"),
        (change_row("ok", instructions_first=-1), "at least 0"),
        (change_row("ok", instructions_inference=10**12), "ranks do not follow the medians or co"),
    ]
    for change, message in damage:
        damaged = copy.deepcopy(counted_report)
        change(damaged)
        path.write_text(to_json(damaged))
        with pytest.raises(ReportError, match=rf"report\.json is damaged: .*{message}"):
            read_report(path)


def test_a_report_of_the_schema_before_is_read(report: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(to_json({**report, "schema": "albert_edge.benchmark/3"}))
    assert read_report(path) == json.loads(to_json(report))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a document: the object or list, and the key or index."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


ODD = (
    st.none()
    | st.booleans()
    | st.integers(-1, 300)
    | st.sampled_from([2**63, -(2**63), 10**40, 0.0, 1e-320, 1e18, -1.5])
    | st.sampled_from(["", "x", "[b]", "\x1b[31m", "\ud800", "ok", "error", "pending", "benchmark"])
    | st.sampled_from([[], {}, [1], [[]], {"a": 1}, [None], {"error": None}, {"outputs": {"a": 1}}])
)


def mutate(document: Any, rng: random.Random, data: st.DataObject) -> None:
    # Most places are in the long lists of samples, so the name of a field is drawn first.
    names = sorted({key for _, key in places(document) if isinstance(key, str)})
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    holder, key = rng.choice([one for one in places(document) if one[1] == name])
    how = data.draw(st.sampled_from(["replace", "delete", "copy", "shorten", "double"]))
    if how == "delete":
        del holder[key]
    elif how == "copy":
        other, place = rng.choice(list(places(document)))
        holder[key] = copy.deepcopy(other[place])
    elif how in ("shorten", "double") and isinstance(holder[key], list):
        holder[key] = holder[key][:-1] if how == "shorten" else holder[key] * 2
    else:
        holder[key] = data.draw(ODD)


SHARED = [HealthCheck.function_scoped_fixture]


@settings(max_examples=150, deadline=None, suppress_health_check=SHARED)
@given(data=st.data(), seed=st.integers(0, 2**32), counted=st.booleans())
def test_any_damage_is_a_report_error_or_is_shown(
    data: st.DataObject,
    seed: int,
    counted: bool,
    report: dict[str, Any],
    counted_report: dict[str, Any],
    tmp_path: Path,
) -> None:
    rng, path = random.Random(seed), tmp_path / "report.json"
    whole = json.loads(to_json(counted_report if counted else report))
    damaged = copy.deepcopy(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(damaged, rng, data)
    path.write_text(json.dumps(damaged))
    try:
        read = read_report(path)
        show(render_report(read))
        render_page(read)
        for pair in ((read, whole), (whole, read)):
            comparison = compare_reports(*pair)
            show(render_comparison(comparison))
            to_json(comparison)
    except ReportError:
        pass


def show(renderable: Any) -> None:
    Console(file=io.StringIO(), width=80).print(renderable)


# JSON Schema calls 1.0 an integer; a count of samples is none.
STRICT_VALIDATOR = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: type(value) is int
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=SHARED)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_reading_agrees_with_the_schema(
    data: st.DataObject, seed: int, report: dict[str, Any]
) -> None:
    damaged = json.loads(to_json(report))
    mutate(damaged, random.Random(seed), data)
    valid = STRICT_VALIDATOR(DESCRIPTION).is_valid(damaged)
    assert valid == (not list(module._schema_faults(damaged, DESCRIPTION, "the report")))
