"""How `int8` scales with length, threads, depth and width: files, memory, latency, conversion.

\b
python -m benchmarks.scaling                        measure, write reference/*.json
python -m benchmarks.scaling --rounds 1 -o /tmp     the same in brief, to see that it works
python -m benchmarks.scaling --small -o /tmp        without the widths above large
python -m benchmarks.scaling --show FILE            the tables of what was measured before

The stock TensorFlow converter's graph stands beside 12 and 24 passes at 128 tokens.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from albert_edge.benchmark.document import read_document
from albert_edge.benchmark.measure import ENGINE, interleave, measure
from albert_edge.benchmark.report import Row, document, write_document
from albert_edge.checkpoints.counts import count_parameters
from albert_edge.config import AlbertConfig, preset
from benchmarks.cells import NOT_MEASURED, Cells, caption, cell
from benchmarks.litert import ENGINE as BARE
from benchmarks.shapes import LOG, STOCK, TASK, make

__all__ = ["make_markdown", "make_tables"]

REFERENCE = Path(__file__).parent / "reference"
T, LENGTHS, THREADS = 128, (8, 16, 32, 64, 128, 256, 512), (1, 2)
BASE = "base, 12"  # a size of the paper's, and how many passes
DEPTHS = ("base, 1", "base, 2", "base, 3", "base, 6", BASE, "base, 24", "base, 48")
WIDTHS = (BASE, "large, 24", "xlarge, 24", "xxlarge, 12")
LARGEST = WIDTHS[2:]
STOCKED = (BASE, "base, 24")  # its time grows with depth, and with the square of the width

Key = tuple[str, str]  # a model and a layout


def config_of(model: str) -> AlbertConfig:
    """Return the shape that `model` names, such as "base, 24"."""
    size, depth = model.split(", ")
    return dataclasses.replace(preset(f"albert-{size}-v2"), num_hidden_layers=int(depth))


def plan(*, small: bool) -> list[tuple[Key, int, int]]:
    """List what is measured: a model and a layout, a length and a number of threads."""
    ours = [((BASE, "loop"), length, n) for length in LENGTHS for n in THREADS]
    ours += [((model, "loop"), T, 1) for model in (*DEPTHS, *WIDTHS)]
    stock = [((model, STOCK), T, 1) for model in STOCKED] + [((BASE, STOCK), T, 2)]
    wanted = [one for one in ours + stock if not (small and one[0][0] in LARGEST)]
    return list(dict.fromkeys(wanted))


def convert_all(keys: list[Key], folder: Path) -> tuple[dict[Key, Path], list[dict[str, Any]]]:
    """Convert every model; return the files, and what their making took."""
    paths, made = {}, []
    for model, layout in keys:
        path = folder / f"{model}-{layout}.tflite".replace(", ", "-")
        config = config_of(model)
        figures = make(config, layout, path, seq_len=T)
        made.append(
            {
                "name": model,
                "layout": layout,
                "hidden_size": config.hidden_size,
                "num_hidden_layers": config.num_hidden_layers,
                "parameters": count_parameters(config, TASK),
                **figures,
            }
        )
        if path.exists():
            paths[model, layout] = path
    return paths, made


def measure_all(folder: Path, *, rounds: int, small: bool) -> dict[str, Any]:
    """Convert and measure everything in `folder`; return the JSON document."""
    wanted = plan(small=small)
    paths, made = convert_all(list(dict.fromkeys(key for key, _, _ in wanted)), folder)
    verified = {(one["name"], one["layout"]): one.get("verification") for one in made}
    ids = np.random.default_rng(20).integers(5, 30000, max(LENGTHS)).tolist()
    wanted = [one for one in wanted if one[0] in paths]
    takes = [
        partial(
            measure,
            paths[key],
            engine=BARE if key[1] == STOCK else ENGINE,
            input_ids=ids[:length],
            threads=threads,
            # The widest takes a second; half a second's samples make up for it where it is fast.
            runs=5,
            warmup=2,
        )
        for key, length, threads in wanted
    ]
    with LOG.status("Measuring"):
        measurements = interleave(takes, rounds=rounds)
    rows = [
        Row(name=key[0], layout=key[1], measurement=taken, verification=verified[key])
        for (key, _, _), taken in zip(wanted, measurements, strict=True)
    ]
    return document("scaling", rows, rounds=rounds, conversions=made)


def make_tables(report: Mapping[str, Any]) -> list[Cells]:
    """Make the tables of a report: by length and threads, by depth, by width."""
    return [_by_length(report), _by_depth(report), _by_width(report)]


def make_markdown(report: Mapping[str, Any]) -> str:
    """Make the Markdown of all three tables, and what they stand on."""
    tables = "\n".join(table.markdown() for table in make_tables(report))
    return f"{tables}\n{_note(report)} `python -m benchmarks.scaling` repeats it.\n"


def _by_length(report: Mapping[str, Any]) -> Cells:
    rows = {
        (row["layout"], row["seq_len"], row["threads"]): row
        for row in report["rows"]
        if row["name"] == BASE
    }
    kinds = [(layout, threads) for layout in ("loop", STOCK) for threads in THREADS]

    def cells(length: int) -> Iterator[str]:
        yield str(length)
        for layout, threads in kinds:
            yield cell(rows.get((layout, length, threads), {}).get("latency_ms"), ".1f")
        yield cell(rows.get(("loop", length, 1), {}).get("tokens_per_s"), ",.0f")

    headings = (
        *(f"ms, {n} {'thread' if n == 1 else 'threads'}" for n in THREADS),
        *(f"stock ms, {n}" for n in THREADS),
        "tokens/s, 1 thread",
    )
    return Cells("tokens", headings, tuple(tuple(cells(length)) for length in LENGTHS))


def _by_depth(report: Mapping[str, Any]) -> Cells:
    def cells(model: str) -> Iterator[str]:
        yield model.removeprefix("base, ")
        for layout in ("loop", STOCK):
            yield from _figures(report, model, layout)

    headings = ("file MB", "RAM MB", "ms", "convert s")
    return Cells(
        "passes",
        (*headings, *(f"stock {heading}" for heading in headings)),
        tuple(tuple(cells(model)) for model in DEPTHS),
    )


def _by_width(report: Mapping[str, Any]) -> Cells:
    def cells(model: str) -> Iterator[str]:
        config, made = config_of(model), _conversion(report, model, "loop")
        yield f"{model.partition(',')[0]} ({config.hidden_size} × {config.num_hidden_layers})"
        yield f"{count_parameters(config, TASK) / 1e6:.0f}"
        yield from _figures(report, model, "loop")
        yield cell(_scaled(made.get("peak_rss_bytes"), 1e-9), ".1f")

    headings = ("M parameters", "file MB", "RAM MB", "ms", "convert s", "GB to convert")
    return Cells("width × passes", headings, tuple(tuple(cells(model)) for model in WIDTHS))


def _figures(report: Mapping[str, Any], model: str, layout: str) -> Iterator[str]:
    """Yield file, memory, latency at T tokens on one thread, and conversion."""
    key = (model, layout, T, 1)
    names = ("name", "layout", "seq_len", "threads")
    found = [row for row in report["rows"] if tuple(row[name] for name in names) == key]
    row = found[0] if found else {}
    yield cell(_scaled(row.get("size_bytes"), 1e-6), ".1f")
    yield cell(_scaled(row.get("model_rss_bytes"), 1e-6))
    yield cell(row.get("latency_ms"), ".1f")
    yield cell(_conversion(report, model, layout).get("seconds"), ".1f")


def _conversion(report: Mapping[str, Any], model: str, layout: str) -> Mapping[str, Any]:
    made = report["conversions"]
    return next((one for one in made if (one["name"], one["layout"]) == (model, layout)), {})


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _note(report: Mapping[str, Any]) -> str:
    failed = [
        f"{one['name']} ({one['layout']}): {one['not_made']}."
        for one in report["conversions"]
        if "not_made" in one
    ]
    explained = (
        f"`int8`, classification; by depth and width at {T} tokens on one thread. Conversion is "
        "one run of the whole command, ours with its verification. The stock converter's graph is "
        f"of {T} tokens; {NOT_MEASURED} is what was not run."
    )
    return " ".join([caption(report), explained, *failed])


@click.command(help=__doc__)
@click.option("--rounds", default=3, type=click.IntRange(1), help="How often all take turns.")
@click.option("--small", is_flag=True, help="Leave out xlarge and xxlarge.")
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--show", "stored", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(rounds: int, small: bool, output: Path, stored: Path | None) -> None:
    """Measure unless `stored` holds figures; print the tables."""
    if stored is None:
        with tempfile.TemporaryDirectory() as folder:
            report = measure_all(Path(folder), rounds=rounds, small=small)
        LOG.print("Wrote", write_document(report, output))
    else:
        report = read_document(stored)
    for table in make_tables(report):
        LOG.print(table.rich())
    LOG.print(_note(report))


if __name__ == "__main__":
    main()
