"""`albert_edge.benchmark.report_file`: the report agrees with `schema.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from albert_edge.benchmark import report_file as module
from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.report_file import SCHEMA, Row, make_report, read_report, to_json
from albert_edge.benchmark.statistics import WARNING_CODES
from albert_edge.errors import ReportError

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
            if name not in ("if", "then"):  # those only name fields again
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
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": [1.0, number]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*: No such file"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "not a report of albert-edge benchmark: its schema is None"),
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
