"""Run files for GPUs on software GPUs in both runtimes: right or wrong, and what the GPU runs.

\b
python -m tests.rigs install                 once
python -m benchmarks.gpu                     every task and recipe; writes reference/gpu-*.json
python -m benchmarks.gpu --task classification --recipe int8 --maker mali -o /tmp
python -m benchmarks.gpu --source albert-base-v2 --recipe float16 -o /tmp
python -m benchmarks.gpu --targets           the figures of `albert-edge targets`

The encoder is the embedded one; heads that it lacks are random.  The GPUs are programs on the CPU,
so nothing is timed: `albert-edge benchmark FILE --accelerator cpu,gpu` measures a real one.
Errors are the largest difference from the CPU in float arithmetic on the same weights, over the
largest output, of a full input, a half padded one and one of two segments.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np

from albert_edge.benchmark.measure import measure
from albert_edge.benchmark.report_file import report_header, save_dated_report
from albert_edge.benchmark.system import describe_machine
from albert_edge.bundle import locate
from albert_edge.checkpoints import read_checkpoint
from albert_edge.conversion import convert
from albert_edge.modeling import from_checkpoint
from albert_edge.runtime import interpreter_forward, open_interpreter, open_model
from albert_edge.runtime.compiled_model import largest_difference, with_float_weights
from albert_edge.targets import TARGETS
from albert_edge.tasks import TASKS
from albert_edge.tflite.graph import parse
from benchmarks.markdown_table import MarkdownTable
from tests.rigs import gpu_delegate, swiftshader

REFERENCE = Path(__file__).parent / "reference"
RECIPES = TARGETS["gpu"].recipes
FIGURES = Path(__file__).parents[1] / "albert_edge" / "targets.json"
# Rounding, of the weights as they are stored: the tests derive them.
LIMITS = {"float32": 1e-5, "float16": 1e-5, "int8": 0.02}
Arrays = dict[str, np.ndarray]


def make_inputs(length: int, vocab_size: int) -> list[Arrays]:
    """Draw a full input, a half padded one, and one of two segments."""
    drawn, at = np.random.default_rng(length), np.arange(length)[None]
    return [
        {
            "input_ids": drawn.integers(5, vocab_size, (1, length), np.int32),
            "attention_mask": (at < real).astype(np.int32),
            "token_type_ids": (at >= second).astype(np.int32),
        }
        for real, second in ((length, length), (length // 2, length), (length, length // 2))
    ]


def measure_file(
    path: Path, makers: tuple[str, ...], *, compiled: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield a row for each runtime and maker."""
    model = open_model(path)
    inputs = make_inputs(model.bundle.seq_len or 0, model.bundle.config.vocab_size)
    interpreter = open_interpreter(with_float_weights(path.read_bytes()), threads=2)
    forward = interpreter_forward(model.bundle, interpreter)
    expected = [dict(forward(one, None)) for one in inputs]
    if compiled:
        found = swiftshader.run_compiled(path, inputs, "gpu|cpu")
        on_gpu = found.on_gpu or 0
        if found.fully_accelerated:  # the log does not count them then
            on_gpu = len(parse(path.read_bytes()).subgraphs[0].operators)
        yield {
            "runtime": "CompiledModel",
            "device": "SwiftShader",
            "operators": on_gpu + (found.on_cpu or 0),
            "operators_accelerated": on_gpu,
            **_compare(found.outputs, expected, found.error, model.bundle.quantize),
        }
    for maker in makers:
        result = gpu_delegate.run(path, inputs, maker=maker)
        yield {
            "runtime": "GpuDelegate",
            "device": maker,
            "operators": result.nodes,
            "operators_accelerated": result.delegated,
            "on_cpu": sorted(set(result.left)),
            **_compare(result.outputs, expected, result.error, model.bundle.quantize),
        }


def _compare(
    outputs: list[Arrays], expected: list[Arrays], error: str, quantize: str
) -> dict[str, Any]:
    if error:
        return {"status": "refused", "difference": None, "message": error}
    found = max(map(largest_difference, outputs, expected))
    status = "right" if found <= LIMITS[quantize] else "WRONG"
    return {"status": status, "difference": found, "limit": LIMITS[quantize]}


def make_markdown(report: Mapping[str, Any]) -> str:
    """Return the table, and how to reproduce it."""
    where = f"{report['date']}. Reproduce with `python -m benchmarks.gpu`."
    return f"{make_table(report).markdown()}\n{where}\n"


def make_table(report: Mapping[str, Any]) -> MarkdownTable:
    """Make the table of tasks and recipes, with the worst of all makers for the delegate."""
    files: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in report["rows"]:
        files.setdefault((row["source"], row["task"], row["quantize"]), []).append(row)
    lines = []
    for (source, task, quantize), rows in files.items():
        compiled = [row for row in rows if row["runtime"] == "CompiledModel"]
        delegate = [row for row in rows if row["runtime"] == "GpuDelegate"]
        name = f"{task}, `{quantize}`" + ("" if source == "default" else f", {source}")
        first = rows[0]
        size = (str(first["seq_len"]), f"{first['size_bytes'] / 1e6:.1f}")
        lines.append((name, *size, _describe(compiled), _describe(delegate)))
    headings = ("tokens", "file MB", "CompiledModel", "GpuDelegate")
    return MarkdownTable("task, recipe", headings, tuple(lines))


def _describe(rows: list[dict[str, Any]]) -> str:
    ran = [row for row in rows if row["difference"] is not None]
    notes = [f"{row['status']} on {row['device']}" for row in rows if row["status"] != "right"]
    if ran:
        worst = max(ran, key=lambda row: float(row["difference"]))
        share = f"{worst['operators_accelerated']} of {worst['operators']}"
        notes = [f"{worst['difference']:.0e}, {share}", *notes]
    return "; ".join(notes) or "not run"


def measure_targets(folder: Path) -> dict[str, dict[str, Any]]:
    """Measure the embedded model's file of every target, at 128 tokens."""
    model, figures = from_checkpoint(read_checkpoint("default")), {}
    for name, target in TARGETS.items():
        made = convert(model, target=name)
        path = Path(locate(made.save(folder / name)))  # of a folder, its host graph
        taken = measure(path, seq_len=128)
        row = next(measure_file(path, ())) if target.graph != "cpu" else {}
        found = made.report["verification"]["outputs"]
        (output,) = found.keys() & {"logits", "probabilities"}
        figures[name] = {
            "size_bytes": made.report["size_bytes"],
            "cpu_latency_ms": round(taken.latency_ms, 2),
            "error": round(found[output]["error"], 5),
            "nodes": row.get("operators"),
            "accelerated_nodes": row.get("operators_accelerated"),
        }
    return figures


@click.command(help=__doc__)
@click.option("--source", "sources", multiple=True, default=["default"], help="Checkpoint.")
@click.option("--task", "tasks", multiple=True, default=list(TASKS), help="Task; repeatable.")
@click.option("--recipe", "recipes", multiple=True, default=list(RECIPES), help="Recipe.")
@click.option("--maker", "makers", multiple=True, default=list(gpu_delegate.MAKERS), help="GPU.")
@click.option("--compiled/--no-compiled", default=True, help="Whether to run CompiledModel.")
@click.option("--targets", is_flag=True, help="Measure the figures of albert-edge targets instead.")
@click.option(
    "-o",
    "--output",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=REFERENCE,
    help="Folder of the report.",
)
def main(
    sources: tuple[str, ...],
    tasks: tuple[str, ...],
    recipes: tuple[str, ...],
    makers: tuple[str, ...],
    compiled: bool,
    targets: bool,
    output: Path,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if targets:
            FIGURES.write_text(json.dumps(measure_targets(folder), indent=2) + "\n")
            return
        rows = []
        for source, task, recipe in product(sources, tasks, recipes):
            checkpoint = read_checkpoint(source, task=task, init_head=True)
            made = convert(from_checkpoint(checkpoint), target="gpu", quantize=recipe)
            path = made.save(folder / "file.tflite", force=True)
            keys = ("task", "quantize", "seq_len", "size_bytes", "model_bytes", "conversion_s")
            file = {"source": source, **{key: made.report[key] for key in keys}}
            for row in measure_file(path, makers, compiled=compiled):
                rows.append({**file, **row})
                click.echo(json.dumps(rows[-1]))
    report = {**report_header("gpu", describe_machine()), "complete": True, "rows": rows}
    click.echo(make_table(report).markdown())
    click.echo(save_dated_report(report, output))


if __name__ == "__main__":
    main()
