"""Measure ALBERT-base's shape with random weights: files, memory, latency, conversion time.

\b
python -m benchmarks.base_shape                  measure, write reference/*.json, check
python -m benchmarks.base_shape --rounds 1 -o /tmp  a short trial run
python -m benchmarks.base_shape --check FILE     check an existing report
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

import albert_edge
from albert_edge.benchmark.console import make_table
from albert_edge.benchmark.measure import ENGINE, Measurement, aggregate_rounds, interleave, measure
from albert_edge.benchmark.report_file import Row, make_report, save_dated_report
from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.config import LAYOUTS
from albert_edge.inspection import inspect
from albert_edge.quantization.recipes import RECIPES
from benchmarks.litert import ENGINE as LITERT
from benchmarks.thresholds import check

T = 128
PEERED, STOCK, FIXED = ("float32", "int8"), "stock", f"loop, {T}"
COMMAND = Path(sys.executable).with_name("albert-edge")
REFERENCE = Path(__file__).parent / "reference"
LOG = Console(stderr=True)


def write_checkpoints(folder: Path) -> dict[int, Path]:
    """Write checkpoints of albert-base-v2's shape with 12 and 24 layers; return them by depth."""
    base = read_checkpoint("albert-base-v2", task="classification")
    paths = {depth: folder / f"layers_{depth}" for depth in (12, 24)}
    for depth, path in paths.items():
        config = dataclasses.replace(base.config, num_hidden_layers=depth)
        write_checkpoint(path, dataclasses.replace(base, config=config))
    return paths


def run(*command: str | Path) -> tuple[float, float]:
    """Run a command in its own process; return the wall-clock and the CPU seconds."""
    LOG.print(f"$ {' '.join(map(str, command))}", style="dim", highlight=False, soft_wrap=True)
    start, before = time.monotonic(), os.times()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    return time.monotonic() - start, cpu


def time_conversions(checkpoints: dict[int, Path], path: Path, rounds: int) -> dict[str, Any]:
    """Time the whole command for 12 and 24 layers, interleaved: start, read, convert, verify."""
    taken: dict[int, list[tuple[float, float]]] = {depth: [] for depth in checkpoints}
    for _ in range(rounds):
        for depth, source in checkpoints.items():
            taken[depth].append(run(COMMAND, "convert", source, "-o", path, "--force"))
    (seconds, cpu), (seconds_24, cpu_24) = (
        np.median(taken[depth], axis=0).tolist() for depth in (12, 24)
    )
    return {
        **{f"layers_{depth}_s": [one[0] for one in runs] for depth, runs in taken.items()},
        **{f"layers_{depth}_cpu_s": [one[1] for one in runs] for depth, runs in taken.items()},
        "median_s": seconds,
        "ratio_24_to_12": seconds_24 / seconds,
        "cpu_ratio_24_to_12": cpu_24 / cpu,
    }


def convert_all(source: Path, folder: Path) -> dict[tuple[str, str], Path]:
    """Convert every recipe and layout; some also at a fixed length and by the stock converter."""
    model = albert_edge.load_keras(source)
    paths = {}
    for name in RECIPES:
        for layout in (*LAYOUTS, *[FIXED, STOCK] * (name in PEERED)):
            path = paths[name, layout] = folder / f"{name}-{layout}.tflite".replace(", ", "-")
            LOG.print(f"making {path.name}", style="dim")
            if layout == STOCK:
                stock = (sys.executable, "-m", "benchmarks.stock_converter", source, "-o", path)
                run(*stock, "--quantize", name, "--seq-len", str(T))
            elif layout == FIXED:
                albert_edge.convert(model, quantize=name, layout="loop", seq_len=T).save(path)
            else:
                albert_edge.convert(model, quantize=name, layout=layout).save(path)
    return paths


def measure_all(paths: dict[tuple[str, str], Path], ids: list[int], rounds: int) -> list[Row]:
    """Measure every file on the same ids, in fresh processes, interleaved."""
    takes = [
        partial(measure, path, input_ids=ids, engine=LITERT if layout == STOCK else ENGINE)
        for (_, layout), path in paths.items()
    ]
    with LOG.status("Measuring"):
        measurements = interleave(takes, rounds=rounds)
    return [
        Row(name=name, layout=layout, measurement=taken)
        for (name, layout), taken in zip(paths, measurements, strict=True)
    ]


def compare_lengths(free: Path, fixed: Path, ids: list[int], rounds: int) -> dict[str, Any]:
    """Compare a free-length file with one fixed to T tokens, alternating the order."""
    taken: dict[Path, list[Measurement]] = {free: [], fixed: []}
    with LOG.status(f"Alternating {free.name} and {fixed.name}"):
        for index in range(rounds):
            for path in (free, fixed) if index % 2 else (fixed, free):
                taken[path].append(measure(path, input_ids=ids, min_time_s=1.0))
    one, other = aggregate_rounds(taken[free]), aggregate_rounds(taken[fixed])
    pairs = zip(taken[free], taken[fixed], strict=True)
    return {
        "alternations": rounds,
        "free_ms": one.latency_ms,
        "fixed_ms": other.latency_ms,
        "ratio_of_medians": one.latency_ms / other.latency_ms,
        "ratio_of_minima": one.min_ms / other.min_ms,
        "ratio_of_cpu": one.cpu_ms / other.cpu_ms,
        "median_of_ratios": float(np.median([a.latency_ms / b.latency_ms for a, b in pairs])),
    }


def measure_base_shape(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Convert and measure everything in `folder`; return the JSON document."""
    checkpoints = write_checkpoints(folder)
    ids = np.random.default_rng(20).integers(5, 30000, T).tolist()
    conversion = time_conversions(checkpoints, folder / "timed.tflite", (rounds + 1) // 2)
    paths = convert_all(checkpoints[12], folder)
    rows = measure_all(paths, ids, rounds)
    lengths = {
        name: compare_lengths(paths[name, "loop"], paths[name, FIXED], ids, 4 * rounds)
        for name in PEERED
    }
    LOG.print(make_table(rows, title=f"ALBERT-base shape, random weights, {T} tokens, 1 thread"))
    duplication = {
        " ".join(key): inspect(path)["weights"]["duplication"] for key, path in paths.items()
    }
    return make_report(
        "base_shape",
        rows,
        duplication=duplication,
        conversion=conversion,
        free_length=lengths,
    )


@click.command(help=__doc__)
@click.option("--rounds", default=5, type=click.IntRange(1), help="Rounds of measurement.")
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--check", "stored", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(rounds: int, output: Path, stored: Path | None) -> None:
    """Measure unless `stored` is given; exit with 1 if a threshold is missed."""
    if stored is None:
        with tempfile.TemporaryDirectory() as folder:
            report = measure_base_shape(Path(folder), rounds=rounds)
        LOG.print("Wrote", save_dated_report(report, output))
    else:
        report = json.loads(stored.read_text(encoding="utf-8"))
    sys.exit(not check(report))


if __name__ == "__main__":
    main()
