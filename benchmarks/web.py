"""Run files in Chromium: WebAssembly's memory and time by layout and lengths, and WebGPU's share.

\b
python -m tests.rigs install node chromium litert_js   once
PYTHONPATH=tests python -m benchmarks.web                prints a table, and saves no report
PYTHONPATH=tests python -m benchmarks.web --source ./my-albert --json

A file is opened in a page of its own, with one thread.  The memory is WebAssembly's, which only
grows; the page's own module takes some 18 MB of it.  WebGPU computes on SwiftShader, a GPU in
software, so it is not timed.
"""

from __future__ import annotations

import json
from typing import Any

import click
import numpy as np

from albert_edge import convert, load_keras
from albert_edge.benchmark.system import describe_machine
from albert_edge.bundle.bundle import read
from benchmarks.markdown_table import MarkdownTable
from tests.web.browser import open_page

FORMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("loop, {long}", {"layout": "loop", "target": "web"}),
    ("CPU graph, {long}", {"layout": "unrolled"}),
    ("`--target web`, {long}", {"target": "web"}),
    ("CPU graph, {both}", {"layout": "unrolled"}),
    ("`--target web`, {both}", {"target": "web"}),
)


def measure(content: bytes, length: int, runs: int) -> dict[str, Any]:
    """Run a file of `length` tokens and maybe others."""
    ids = np.random.default_rng(0).integers(5, read(content).config.vocab_size, length).tolist()
    with open_page({"model.tflite": content}) as page:
        opened = page.call("open", url="model.tflite", accelerator="wasm")
        timed = page.call("time", handle=opened["handle"], ids=ids, runs=runs)
    return {"size_bytes": len(content), "compile_ms": opened["milliseconds"], **timed}


def measure_source(source: str, quantize: str, runs: int) -> list[dict[str, Any]]:
    """Measure a checkpoint's file in every form."""
    model, rows = load_keras(source), []
    long, short = (384, 128) if model.task == "question-answering" else (128, 32)
    for name, options in FORMS:
        lengths = [short, long] if "both" in name else [long]
        made = convert(model, quantize=quantize, seq_len=lengths, verified=False, **options)
        form = name.format(long=long, both=f"{short} and {long}")
        row = {"source": source, "task": model.task, "form": form}
        rows.append({**row, **measure(made.blob, long, runs)})
    return rows


def make_table(rows: list[dict[str, Any]]) -> MarkdownTable:
    """Make the table: a row for each file."""
    columns = ("file MB", "heap MB", "compile ms", "first ms", "ms")
    lines = []
    for row in rows:
        mb = (f"{row['size_bytes'] / 1e6:.1f}", f"{row['heapBytes'] / 1e6:.0f}")
        ms = (f"{row['compile_ms']:.0f}", f"{row['first']:.0f}", f"{row['median']:.1f}")
        lines.append((f"{row['task']}, {row['form']}", *mb, *ms))
    return MarkdownTable("file", columns, tuple(lines))


@click.command(help=__doc__)
@click.option("--source", "sources", multiple=True, default=["default"], help="Checkpoint.")
@click.option("--quantize", default="int8", show_default=True, help="Recipe.")
@click.option("--runs", default=20, show_default=True, help="Runs after the first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")
def main(sources: tuple[str, ...], quantize: str, runs: int, as_json: bool) -> None:
    rows = [row for source in sources for row in measure_source(source, quantize, runs)]
    machine = describe_machine()
    if as_json:
        click.echo(json.dumps({"machine": machine, "rows": rows}))
        return
    click.echo(f"{make_table(rows).markdown()}\n\n{machine['model']}")


if __name__ == "__main__":
    main()
