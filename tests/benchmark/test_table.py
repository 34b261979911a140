"""`albert_edge.benchmark.console`: the table of a report."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from albert_edge.benchmark.console import render_report


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
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
