"""`albert_edge.benchmark.paired`: two files in the same processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from albert_edge.benchmark import paired
from albert_edge.benchmark.compare import SCHEMA
from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.benchmark.devices.device import Local
from albert_edge.benchmark.paired import compare_files
from albert_edge.errors import BundleError, DeviceError

BRIEF = BenchmarkConfig(rounds=5, runs=2, min_time_s=0.0, seq_lens=(8, 16), threads=(1, 2))


@pytest.fixture
def both(make_file: Callable[..., Path]) -> tuple[Path, Path]:
    return make_file("small"), make_file("deep", num_hidden_layers=24)


def compare(*files: Path, **options: Any) -> dict[str, Any]:
    with Progress(disable=True) as progress:
        return compare_files(*files, settings=BRIEF, progress=progress, **options)


def test_every_configuration_is_compared(both: tuple[Path, Path]) -> None:
    found = compare(*both)
    assert (found["schema"], found["paired"]) == (SCHEMA, True)
    settings = [(row["threads"], row["seq_len"]) for row in found["rows"]]
    assert sorted(settings) == [(1, 8), (1, 16), (2, 8), (2, 16)]
    for row in found["rows"]:
        change = row["changes"]["latency_ms"]
        assert row["name"] == "small, deep"
        assert 0 < change["low"] <= change["ratio"] <= change["high"]
        assert min(change["old"], change["new"]) > 0
        assert row["verdict"] == change["verdict"]


def test_who_is_opened_first_alternates(
    both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[dict[str, Any]] = []

    class Watched(Local):
        def run(self, job: Any, *, timeout_s: float) -> dict[str, Any]:
            jobs.append(dict(job))
            return {"samples_ns": [[2, 4, 6], [1, 2, 3]]}

    monkeypatch.setattr(paired, "open_device", lambda address: Watched())
    [row, *_] = compare(*both)["rows"]
    assert row["changes"]["latency_ms"]["ratio"] == pytest.approx(0.5)
    of_one = [job["new_first"] for job in jobs if (job["threads"], job["seq_len"]) == (1, 8)]
    assert of_one == [0, 1, 0, 1, 0]


def test_one_clear_error(both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = both[0].with_name("damaged.tflite")
    damaged.write_bytes(both[0].read_bytes()[:3000])
    with pytest.raises(BundleError, match="cut short"):
        compare(both[0], damaged)

    class Old(Local):
        def run(self, job: Any, *, timeout_s: float) -> dict[str, Any]:
            return {"samples": 1}

    monkeypatch.setattr(paired, "open_device", lambda address: Old())
    with pytest.raises(DeviceError, match="install the same version there"):
        compare(*both)

    def interrupt(address: str) -> Local:
        raise KeyboardInterrupt

    monkeypatch.setattr(paired, "open_device", interrupt)
    with pytest.raises(DeviceError, match="interrupted"):
        compare(*both)
