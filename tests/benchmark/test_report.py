"""`albert_edge.benchmark.report_file`, the table of `.console`, and `.system`."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from albert_edge.benchmark.console import make_table
from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.report_file import SCHEMA, Row, make_report, save_dated_report
from albert_edge.benchmark.system import describe_machine, slug
from albert_edge.errors import OutputError

VERIFICATION = {"outputs": {"logits": {"error": 0.0125}, "other": {"error": 0.001}}, "agreement": 1}


@pytest.fixture
def rows(measurement: Measurement) -> list[Row]:
    unknown = dataclasses.replace(
        measurement, memory=dict.fromkeys(measurement.memory), peak_rss_bytes=None
    )
    return [
        Row(name="int8", layout="loop", measurement=measurement, verification=VERIFICATION),
        Row(name="int8", layout="split", measurement=unknown),
    ]


def show(rows: list[Row]) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(make_table(rows, title="a title"))
    return console.file.getvalue()


def test_a_report_contains_every_metric_with_its_unit(
    rows: list[Row], measurement: Measurement
) -> None:
    report = make_report("demo", rows, answers=[1])
    assert (report["schema"], report["kind"], report["answers"]) == (SCHEMA, "demo", [1])
    row = report["rows"][0]
    assert (row["name"], row["layout"], row["seq_len"]) == ("int8", "loop", 16)
    assert row["size_bytes"] == measurement.size_bytes
    assert row["latency_ms"] == measurement.latency_ms
    assert row["latency_p90_ms"] == measurement.percentile_ms(90)
    assert row["latency_min_ms"] <= row["latency_ms"] <= row["latency_p99_ms"]
    assert (row["n"], row["samples_ns"]) == (30, list(measurement.samples_ns))
    assert row["model_rss_bytes"] == measurement.model_bytes()
    assert row["verification"] == VERIFICATION
    logits = hashlib.sha256(measurement.outputs[0]["logits"].tobytes()).hexdigest()
    assert row["outputs_sha256"] == {"logits": logits}
    assert report["rows"][1]["model_rss_bytes"] is None


def test_a_report_is_named_by_machine_and_date(rows: list[Row], tmp_path: Path) -> None:
    report = make_report("demo", rows)
    path = save_dated_report(report, tmp_path)
    assert path.name == f"demo-{slug(report['machine'])}-{report['date']}.json"
    text = path.read_text()
    assert json.loads(text) == report
    assert len(text.splitlines()) < 300  # 120 samples do not take a line each
    assert save_dated_report(report, tmp_path) == path


def test_a_report_needs_a_directory(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        save_dated_report(make_report("demo", rows), tmp_path / "nowhere")


def test_a_table_shows_the_worst_error_and_dashes_for_unknown_values(
    rows: list[Row], measurement: Measurement
) -> None:
    head, *lines = show(rows).splitlines()
    assert head.strip() == "a title"
    cells = [line.split() for line in lines]
    memory = f"{measurement.model_bytes() / 1e6:.1f}"
    assert any(
        row[:2] == ["int8", "loop"] and row[-3:] == [memory, "1.2500", "100%"] for row in cells
    )
    assert any(row[0] == "split" and row[-3:] == ["-", "-", "-"] for row in cells if row)


def test_a_table_without_verification_has_no_column_for_it(rows: list[Row]) -> None:
    assert "error" in show(rows)
    assert "error" not in show(rows[1:])


def test_a_table_of_large_figures_fits_80_columns(measurement: Measurement) -> None:
    large = dataclasses.replace(
        measurement,
        size_bytes=940_500_000,
        load_ms=12345.6,
        first_ms=23456.7,
        samples_ns=(12_345_678_901,),
        memory={"empty": {"rss_bytes": 0}, "warm": {"rss_bytes": 2_345_600_000}},
    )
    text = show([Row(name="float32", layout="unrolled", measurement=large)])
    assert "…" not in text
    for figure in ("940.50", "12345.6", "23456.7", "12345.7", "2345.6"):
        assert figure in text


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert machine["model"]
    assert 1 <= machine["cores"] <= (os.cpu_count() or 1)
    assert {"albert_edge", "numpy"} <= machine["versions"].keys()


def test_a_slug_is_safe_in_a_file_name() -> None:
    board = {"model": "Intel(R) Xeon(R) CPU @ 2.20GHz", "cores": 2}
    assert slug(board) == "intel-r-xeon-r-cpu-2-20ghz-2c"
