"""`albert_edge.benchmark.console`: the table of a report."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from albert_edge.benchmark.console import make_table, render_report
from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.report_file import SCHEMA, Row, make_report, save_dated_report
from albert_edge.benchmark.system import describe_machine, slug
from albert_edge.errors import OutputError


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "accelerator": "cpu",
        "threads": 1,
        "seq_len": 128,
        "status": "ok",
        "rank": None,
        "warnings": [],
        "fidelity": {"reference": {"name": "float32"}},
        "size_bytes": 11_791_096,
        "model_rss_bytes": 36_400_000,
        "load_ms": 10.21,
        "first_ms": 30.4,
        "latency_ms": 27.44,
        "latency_p90_ms": 28.91,
        "latency_p99_ms": 412.6,
        "n": 60,
        **fields,
    }


def show(*rows: dict[str, Any]) -> list[str]:
    machine = {
        "model": "Raspberry Pi 5 Model B Rev 1.0",
        "cores": 4,
        "conditions": {"governors": ["ondemand"]},
    }
    console = Console(file=io.StringIO(), width=80)
    console.print(
        render_report({"rows": list(rows), "machine": machine, "settings": {"rounds": 3}})
    )
    return console.file.getvalue().splitlines()


def line_of(lines: list[str], name: str) -> list[str]:
    return next(line.split() for line in lines if name in line.split())


def test_figures_and_the_machine_are_shown() -> None:
    lines = show(row("int8", rank=1))
    assert lines[0].strip() == "Raspberry Pi 5 Model B Rev 1.0, 4 cores, ondemand"
    expected = ["1", "int8", "1", "11.79", "36.4", "10.2", "30.4", "27.4", "28.9", "413"]
    assert line_of(lines, "int8") == expected
    assert "at least 60 warm" in " ".join(lines)


def test_the_fastest_comes_first_and_rows_without_a_rank_last() -> None:
    failed = {"name": "gone", "status": "error", "size_bytes": None}
    measured = ("model_rss_bytes", "load_ms", "first_ms", "n")
    bare = {
        name: value
        for name, value in row("gone").items()
        if name not in measured and "latency" not in name
    }
    lines = show(
        {**bare, **failed, "fidelity": None},
        row("liar", status="wrong"),
        row("slow", rank=2),
        row("fast", rank=1),
        row("short", rank=1, seq_len=16),
    )
    names = ["short", "fast", "slow", "liar", "gone"]
    text = "\n".join(lines)
    assert sorted(names, key=text.index) == names
    assert line_of(lines, "liar")[:2] == ["WRONG", "liar"]
    assert line_of(lines, "gone") == ["error", "gone", "1", *["-"] * 7]


def test_warnings_are_listed_and_explained() -> None:
    warnings = [{"code": "busy", "message": "x"}, {"code": "noisy", "message": "y"}]
    lines = show(row("int8", rank=1, warnings=warnings))
    assert "busy, noisy" in [line.strip() for line in lines]
    assert any(line.startswith("noisy: The medians of the rounds") for line in lines)
    assert not any(line.startswith("powersave") for line in lines)


@pytest.mark.parametrize("name", ["int8-loop", "a-model-of-mine-with-a-very-long-name-" * 2])
def test_it_fits_80_columns(name: str) -> None:
    lines = show(row(name, rank=1, latency_ms=12345.6, latency_p99_ms=23456.7, load_ms=3456.0))
    assert all(len(line) <= 80 for line in lines)
    assert "12346" in "\n".join(lines)
    assert "…" not in "\n".join(lines)


def test_a_value_that_the_kernel_does_not_report_is_a_dash() -> None:
    assert line_of(show(row("int8", rank=1, model_rss_bytes=None)), "int8")[4] == "-"


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


def show_table(rows: list[Row]) -> str:
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
    head, *lines = show_table(rows).splitlines()
    assert head.strip() == "a title"
    cells = [line.split() for line in lines]
    memory = f"{measurement.model_bytes() / 1e6:.1f}"
    assert any(
        row[:2] == ["int8", "loop"] and row[-3:] == [memory, "1.2500", "100%"] for row in cells
    )
    assert any(row[0] == "split" and row[-3:] == ["-", "-", "-"] for row in cells if row)


def test_a_table_without_verification_has_no_column_for_it(rows: list[Row]) -> None:
    assert "error" in show_table(rows)
    assert "error" not in show_table(rows[1:])


def test_a_table_of_large_figures_fits_80_columns(measurement: Measurement) -> None:
    large = dataclasses.replace(
        measurement,
        size_bytes=940_500_000,
        load_ms=12345.6,
        first_ms=23456.7,
        samples_ns=(12_345_678_901,),
        memory={"empty": {"rss_bytes": 0}, "warm": {"rss_bytes": 2_345_600_000}},
    )
    text = show_table([Row(name="float32", layout="unrolled", measurement=large)])
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


def test_instructions_take_the_place_of_times(counted_report: dict[str, Any]) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(render_report(counted_report))
    text = console.file.getvalue()
    assert "M instr." in text
    assert "85.2" in text
    assert " ms" not in text
    assert "ms\n" not in text
    assert "they are no time" in " ".join(text.split())
    assert max(map(cell_len, text.splitlines())) <= 80
