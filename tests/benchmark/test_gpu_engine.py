"""Files on a GPU in a benchmark: measured if they are right, and otherwise not ranked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from albert_edge.benchmark import run
from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.benchmark.console import render_report
from albert_edge.benchmark.html import render_page
from albert_edge.benchmark.report_file import read_report
from albert_edge.benchmark.statistics import raise_on_failures
from albert_edge.cli.console import print_report
from albert_edge.errors import DeviceError, FidelityError
from benchmark.test_run import validate

GPU = ("gpu:float32", "gpu:default")


def benchmark(*paths: Path, rounds: int = 1, **options: Any) -> dict[str, Any]:
    settings = BenchmarkConfig(
        accelerators=("cpu", "gpu"), rounds=rounds, runs=2, warmup=0, min_time_s=0.0
    )
    return run.benchmark(paths, settings=settings, progress=Progress(disable=True), **options)


def rows_of(report: dict[str, Any]) -> dict[tuple[str, str, int], dict[str, Any]]:
    return {(row["name"], row["accelerator"], row["seq_len"]): row for row in report["rows"]}


def test_right_files_are_ranked_and_wrong_ones_are_not(
    software_gpu: None,
    tiny_gpu: Callable[..., bytes],
    tiny_tflite: Callable[..., bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right, wrong, loop = (tmp_path / f"{name}.tflite" for name in ("right", "wrong", "loop"))
    right.write_bytes(tiny_gpu(quantize="int8", seq_len=(6, 12)))
    wrong.write_bytes(tiny_tflite(layout="unrolled", seq_len=12))
    loop.write_bytes(tiny_tflite())
    kept = tmp_path / "report.json"
    report = benchmark(right, wrong, loop, json_path=kept)
    validate(report)
    rows = rows_of(report)
    # Each length of a file is measured.
    assert {key[2] for key in rows if key[0] == "right"} == {6, 12}
    for length in (6, 12):
        assert "acceleration" not in rows["right", "cpu", length]
        for name in GPU:
            row = rows["right", name, length]
            share, on_cpu = row["acceleration"], row["fidelity"]["cpu"]
            assert row["status"] == "ok"
            assert row["rank"] is not None
            assert share["accelerator"] == name
            assert "SwiftShader" in share["device"]
            assert share["operators_accelerated"] == row["operators_delegated"]
            assert share["operators_accelerated"] < share["operators"] == row["operators"]
            assert "GATHER" in share["on_cpu"]
            # Float arithmetic on the same int8 weights: rounding only.
            assert on_cpu["difference"] <= 1e-5 < on_cpu["limit"]
            assert "software-gpu" in [one["code"] for one in row["warnings"]]
            assert row["engine"].startswith("albert_edge.benchmark.gpu_engine:")
    for name in GPU:
        row = rows["wrong", name, 12]
        assert (row["status"], row["rank"]) == ("wrong", None)
        assert row["fidelity"]["cpu"]["difference"] > row["fidelity"]["cpu"]["limit"]
        assert rows["loop", name, 40]["status"] == "error"
        assert "--target gpu" in rows["loop", name, 40]["error"]["message"]
    assert rows["wrong", "cpu", 12]["status"] == rows["loop", "cpu", 40]["status"] == "ok"
    with pytest.raises(DeviceError, match=r"2 of 12 failed, 2 have wrong outputs(?s:.*)CPU's by"):
        raise_on_failures(report)
    with pytest.raises(FidelityError, match=r"wrong \(gpu:float32, 1 thread, T=12\): an output"):
        raise_on_failures({"rows": [row for row in report["rows"] if row["name"] != "loop"]})
    # The saved report is whole, and shown.
    assert read_report(kept) == report
    print_report(report, as_json=False, render=lambda report: [render_report(report)])
    shown = " ".join(capsys.readouterr().out.split())
    assert "operators on SwiftShader Device" in shown
    assert "WRONG wrong" in shown
    assert "gpu:float32: float32 arithmetic" in shown
    page = render_page(report)
    assert "operators on SwiftShader Device" in page
    assert "gpu:default" in page


def test_a_benchmark_on_a_gpu_is_resumed(
    software_gpu: None, tiny_gpu: Callable[..., bytes], tmp_path: Path
) -> None:
    path, kept = tmp_path / "tiny.tflite", tmp_path / "report.json"
    path.write_bytes(tiny_gpu())
    report = benchmark(path, json_path=kept)
    assert benchmark(path, json_path=kept, resume=True) == report


def test_without_a_gpu_the_cpu_is_measured(
    no_gpu: None, tiny_gpu: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_gpu())
    report = benchmark(path)
    validate(report)
    rows = rows_of(report)
    assert rows["tiny", "cpu", 12]["status"] == "ok"
    for name in GPU:
        assert rows["tiny", name, 12]["error"]["type"] == "DeviceError"
        assert "LiteRT finds no GPU" in rows["tiny", name, 12]["error"]["message"]
