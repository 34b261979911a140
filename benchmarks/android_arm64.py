"""Count the instructions of one inference in Android's own library for arm64, under qemu.

\b
python -m tests.rigs install android-arm64   once
python -m benchmarks.android_arm64           writes reference/android_arm64-*.json; takes an hour
python -m benchmarks.android_arm64 --source default --recipe int8 --cpu cortex-a76 -o /tmp --json

The library is TensorFlow Lite 2.16.1's of `tensorflow-lite`, the files are of `--target android`,
at 128 tokens and on one thread, without and with XNNPACK as a delegate.  A count is the same from
run to run, and says nothing about memory: it is no time.  ALBERT-base is counted with one pass and
with two, because emulated floats are slow: each further pass runs the same instructions, and the
total follows.  In `int8` all 12 passes are counted too.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from albert_edge.benchmark.report_file import report_header, save_dated_report
from albert_edge.benchmark.system import describe_machine
from albert_edge.checkpoints import read_checkpoint
from albert_edge.conversion import convert
from albert_edge.modeling import from_checkpoint
from albert_edge.targets import TARGETS
from benchmarks.markdown_table import MarkdownTable, cell
from tests.rigs import android_arm64

REFERENCE = Path(__file__).parent / "reference"
RECIPES = TARGETS["android"].recipes
BASE = "albert-base-v2"
SOURCES = {"default": "the embedded model", BASE: "ALBERT-base's shape"}
T = 128
# Kernels sum in another order; those of int8 differ in how they round, which the tests derive.
LIMITS = {"float32": 1e-5, "float16": 1e-5, "int8": 0.05}
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Instructions of a file: of loading it, of the first inference, and of a warm one."""

    load: int
    first: int
    warm: int
    difference: float


class Files:
    """The files of a source, by recipe and number of passes, converted where they are needed."""

    def __init__(self, source: str, folder: Path) -> None:
        self._checkpoint = read_checkpoint(source, task="classification", init_head=True)
        self._source, self._folder = source, folder

    @property
    def passes(self) -> int:
        """How many times the model applies its layer."""
        return self._checkpoint.config.num_hidden_layers

    def path(self, quantize: str, passes: int) -> Path:
        """Return the file; the weights do not depend on the number of passes."""
        path = self._folder / f"{self._source}_{quantize}_{passes}.tflite"
        if not path.exists():
            config = replace(self._checkpoint.config, num_hidden_layers=passes)
            model = from_checkpoint(replace(self._checkpoint, config=config))
            convert(model, target="android", quantize=quantize, verified=False).save(path)
        return path


@cache
def run_in_litert(path: Path) -> tuple[Arrays, Arrays]:
    """Draw a text of T tokens for a file, which uses all its passes; return it and its outputs."""
    runner = Interpreter(str(path)).get_signature_runner()
    ids = np.random.default_rng(T).integers(5, 3000, (1, T), np.int32)
    every = {
        "input_ids": ids,
        "token_type_ids": np.zeros_like(ids),
        "patience": np.int32([99]),  # with these no early exit is taken
        "threshold": np.float32([2]),
        "max_layers": np.int32([99]),
    }
    inputs = {name: every[name] for name in runner.get_input_details()}
    return inputs, runner(**inputs)


def count(path: Path, cpu: str, *, xnnpack: bool) -> Counts:
    """Count the instructions of a file, and compare its logits with LiteRT's."""
    inputs, expected = run_in_litert(path)
    result = android_arm64.run(path, [inputs] * 2, cpu=cpu, xnnpack=xnnpack, timeout_s=7200)
    if result.error or result.load_instructions is None:
        raise click.ClickException(f"{path.name} on {cpu}: {result.error}")
    largest = np.abs(expected["logits"]).max()
    found = max(np.abs(o["logits"] - expected["logits"]).max() for o in result.outputs)
    first, warm = result.run_instructions
    loading = result.load_instructions
    return Counts(load=loading, first=first, warm=warm, difference=float(found / largest))


def measure(files: Files, quantize: str, cpu: str, *, xnnpack: bool, whole: bool) -> dict[str, Any]:
    """Count the instructions of all passes, or of one and of two, from which the others follow."""
    passes = files.passes
    if whole:
        counted = {passes: count(files.path(quantize, passes), cpu, xnnpack=xnnpack)}
        last = counted[passes]
        totals = {"first_instructions": last.first, "instructions": last.warm}
    else:
        counted = {n: count(files.path(quantize, n), cpu, xnnpack=xnnpack) for n in (1, 2)}
        one, last = counted[1], counted[2]
        more = passes - 1
        totals = {
            "first_instructions": one.first + more * (last.first - one.first),
            "instructions": one.warm + more * (last.warm - one.warm),
        }
    worst = max(one.difference for one in counted.values())
    return {
        "quantize": quantize,
        "cpu": cpu,
        "xnnpack": xnnpack,
        "seq_len": T,
        "passes": passes,
        "passes_counted": list(counted),
        "load_instructions": last.load,
        **totals,
        "status": "right" if worst <= LIMITS[quantize] else "WRONG",
        "difference": worst,
        "limit": LIMITS[quantize],
    }


def measure_all(
    sources: tuple[str, ...], recipes: tuple[str, ...], cpus: tuple[str, ...], folder: Path
) -> Iterator[dict[str, Any]]:
    """Yield a row for each source, recipe and processor, without and with XNNPACK."""
    for source in sources:
        files = Files(source, folder)
        # int8 first: its kernels of integers are emulated faster.
        for quantize, cpu, xnnpack in product(sorted(recipes, reverse=True), cpus, (False, True)):
            for whole in {source != BASE, source != BASE or quantize == "int8"}:
                row = measure(files, quantize, cpu, xnnpack=xnnpack, whole=whole)
                yield {"source": source, **row}


def make_markdown(report: Mapping[str, Any]) -> str:
    """Return the table, and how to reproduce it."""
    both: dict[tuple[Any, ...], set[int]] = {}
    for row in report["rows"]:
        key = tuple(row[name] for name in ("source", "quantize", "cpu", "xnnpack"))
        both.setdefault(key, set()).add(row["instructions"])
    gaps = [max(found) / min(found) - 1 for found in both.values() if len(found) == 2]
    sums = f" (of `int8`, such a sum is {100 * max(gaps):.1g}% off all 12)" if gaps else ""
    return (
        f"{make_table(report).markdown()}\n"
        f"Millions of instructions of one inference of {T} tokens on one thread, TensorFlow Lite "
        f"{report['runtime']} for arm64, {report['date']}; in brackets with XNNPACK as a delegate. "
        "ALBERT-base's shape has random weights; its floats follow from counts of one and of two "
        f"passes{sums}. The worst difference from LiteRT on x86-64, of the largest logit, is "
        f"{_worst(report, 'float32'):.0e} in `float32`, {_worst(report, 'float16'):.0e} in "
        f"`float16` and {_worst(report, 'int8'):.1%} in `int8`. "
        "Reproduce with `python -m benchmarks.android_arm64`.\n"
    )


def _worst(report: Mapping[str, Any], quantize: str) -> float:
    rows = report["rows"]
    return max((row["difference"] for row in rows if row["quantize"] == quantize), default=0.0)


def make_table(report: Mapping[str, Any]) -> MarkdownTable:
    """Make the table: a row for each source and recipe, a column for each processor."""
    # Of a file that was counted in all its passes, that count.
    rows = sorted(report["rows"], key=lambda row: row["passes"] in row["passes_counted"])
    found = {
        (row["source"], row["quantize"], row["cpu"], row["xnnpack"]): row["instructions"] / 1e6
        for row in rows
    }
    names = dict.fromkeys((row["source"], row["quantize"]) for row in report["rows"])
    cpus = tuple(dict.fromkeys(row["cpu"] for row in report["rows"]))
    lines = []
    for source, quantize in sorted(names, key=lambda name: (list(SOURCES).index(name[0]), name[1])):
        cells = []
        for cpu in cpus:
            without, with_it = (found.get((source, quantize, cpu, x)) for x in (False, True))
            both = f"{cell(without, ',.0f')} ({cell(with_it, ',.0f')})"
            cells.append(cell(None) if without is None and with_it is None else both)
        lines.append((f"{SOURCES[source]}, `{quantize}`", *cells))
    return MarkdownTable("file", cpus, tuple(lines))


@click.command(help=__doc__)
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Choice(list(SOURCES)),
    default=list(SOURCES),
    help="Checkpoint; repeatable.",
)
@click.option("--recipe", "recipes", multiple=True, default=list(RECIPES), help="Recipe.")
@click.option(
    "--cpu",
    "cpus",
    multiple=True,
    type=click.Choice(list(android_arm64.CPUS)),
    default=list(android_arm64.CPUS),
    help="Processor; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not as a table.")
@click.option(
    "-o",
    "--output",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=REFERENCE,
    help="Folder of the report.",
)
def main(
    sources: tuple[str, ...],
    recipes: tuple[str, ...],
    cpus: tuple[str, ...],
    as_json: bool,
    output: Path,
) -> None:
    android_arm64.RIG.install()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for row in measure_all(sources, recipes, cpus, Path(name)):
            rows.append(row)
            click.echo(json.dumps(row), err=True)
    header = report_header("android_arm64", describe_machine())
    report = {**header, "runtime": android_arm64.VERSION, "complete": True, "rows": rows}
    path = save_dated_report(report, output)
    click.echo(json.dumps(report) if as_json else f"{make_markdown(report)}\n{path}")


if __name__ == "__main__":
    main()
