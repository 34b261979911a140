"""Small model files, one of them measured once, and machines made of files."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.benchmark.measure import Measurement, measure
from albert_edge.benchmark.run import benchmark
from albert_edge.benchmark.statistics import rank
from albert_edge.bundle.bundle import pack, read
from benchmark.samples import HOSTILE


@pytest.fixture(scope="session")
def tiny_file(tiny_tflite: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "tiny.tflite"
    path.write_bytes(tiny_tflite())
    return path


@pytest.fixture(scope="session")
def measurement(tiny_file: Path) -> Measurement:
    return measure(tiny_file, seq_len=16, runs=30, warmup=1, min_time_s=0)


@pytest.fixture
def make_file(tiny_tflite: Callable[..., bytes], tmp_path: Path) -> Callable[..., Path]:
    """A function `make_file(name, says={...}, **options)` that writes `tiny_tflite(**options)`.

    `says` replaces what the file says of itself.
    """

    def make(name: str, *, says: dict[str, Any] | None = None, **options: Any) -> Path:
        blob = tiny_tflite(**options)
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(pack(blob, dataclasses.replace(read(blob), **(says or {}))))
        return path

    return make


@pytest.fixture(scope="session")
def report(tiny_tflite: Callable[..., bytes], built_once: Callable[..., Path]) -> dict[str, Any]:
    """A report of two rounds: a file that is right, one that is wrong, a hostile name, no file."""
    source = {"provenance": {"source": "here", "sha256": "5" * 64}}
    files = {
        HOSTILE: ("float32", {}),
        "int8": ("int8", {}),
        "liar": ("int8", {"quantize": "float32"}),
    }

    def build(path: Path) -> None:
        for name, (quantize, says) in files.items():
            blob = tiny_tflite(quantize=quantize)
            bundle = dataclasses.replace(read(blob), **source, **says)
            path.with_name(f"{name}.tflite").write_bytes(pack(blob, bundle))
        made = benchmark(
            [path.with_name(f"{name}.tflite") for name in (*files, "empty")],
            settings=BenchmarkConfig(seq_lens=(4, 8), rounds=2, runs=5, warmup=0, min_time_s=0.0),
            progress=Progress(disable=True),
        )
        path.write_text(json.dumps(made))

    found: dict[str, Any] = json.loads(built_once("report.json", build).read_text())
    return found


@pytest.fixture
def counted_report(report: dict[str, Any]) -> dict[str, Any]:
    """The same report as if an emulated processor had counted the instructions of the files."""
    counted = copy.deepcopy(report)
    counted["device"] = "qemu://cortex-a72"
    names = ("end_to_end", "n", "cpu_ms", "memory", "energy", "conditions", "spread", "rounds")
    for number, row in enumerate(counted["rows"], 1):
        if "latency_ms" in row:
            for name in [*row]:
                if name in names or name.endswith(("_ms", "_ns", "_rss_bytes", "_per_s", "_busy")):
                    del row[name]
            for name in ("anonymous", "file", "pss"):
                del row[f"model_{name}_bytes"]
            del row["arena_bytes"]
            row["warnings"] = []
            row |= {
                "instructions_load": 30_000_000 + number,
                "instructions_first": 90_000_000 + number,
                "instructions_inference": 85_200_000 + number,
            }
    rank(counted["rows"])
    return counted


@pytest.fixture
def make_root(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """A function that writes files, by path, as a kernel would show them; returns their root."""

    def make(files: dict[str, str]) -> Path:
        root = tmp_path / "root"
        root.mkdir()
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return root

    return make


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """A function that puts a `vcgencmd` first in PATH which gives these answers to commands."""

    def make(answers: dict[str, str]) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        cases = "".join(
            f"'{name}') cat <<'END'\n{answer}\nEND\n;;\n" for name, answer in answers.items()
        )
        program = folder / "vcgencmd"
        program.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}*) exit 1;;\nesac\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return make
