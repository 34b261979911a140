"""Measure how `int8` scales with length, threads, depth and width: file, memory, latency.

\b
python -m benchmarks.scaling                        measure, write reference/*.json
python -m benchmarks.scaling --rounds 1 -o /tmp     a short trial run
python -m benchmarks.scaling --small -o /tmp        without the widths above large
python -m benchmarks.scaling --show FILE            print the tables of an existing report

The stock TensorFlow converter's graph is measured at 12 and 24 passes and 128 tokens.
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

from albert_edge.benchmark.measure import ENGINE, interleave, measure
from albert_edge.benchmark.report_file import Row, make_report, read_report, save_dated_report
from albert_edge.checkpoints.init import count_parameters
from albert_edge.config import AlbertConfig, preset
from benchmarks.litert import ENGINE as LITERT
from benchmarks.markdown_table import NOT_MEASURED, MarkdownTable, caption, cell
from benchmarks.shapes import LOG, STOCK, TASK, make

__all__ = ["make_markdown", "make_tables"]

REFERENCE = Path(__file__).parent / "reference"
T, LENGTHS, THREADS = 128, (8, 16, 32, 64, 128, 256, 512), (1, 2)
BASE = "base, 12"  # a size of the paper and the number of passes
DEPTHS = ("base, 1", "base, 2", "base, 3", "base, 6", BASE, "base, 24", "base, 48")
WIDTHS = (BASE, "large, 24", "xlarge, 24", "xxlarge, 12")
LARGEST = WIDTHS[2:]
STOCKED = (
    BASE,
    "base, 24",
)  # the stock converter's time grows with depth and with the square of the width
FIGURES = ("file MB", "RAM MB", "ms", "convert s")

Key = tuple[str, str]  # a model and a layout


def config_of(model: str) -> AlbertConfig:
    """Return the shape that `model` names, such as "base, 24"."""
    size, depth = model.split(", ")
    return dataclasses.replace(preset(f"albert-{size}-v2"), num_hidden_layers=int(depth))


def plan(*, small: bool) -> list[tuple[Key, int, int]]:
    """List the configurations: a model and a layout, a length, a number of threads."""
    ours = [((BASE, "loop"), length, n) for length in LENGTHS for n in THREADS]
    ours += [((model, "loop"), T, 1) for model in (*DEPTHS, *WIDTHS)]
    stock = [((model, STOCK), T, 1) for model in STOCKED] + [((BASE, STOCK), T, 2)]
    wanted = [one for one in ours + stock if not (small and one[0][0] in LARGEST)]
    return list(dict.fromkeys(wanted))


def convert_all(keys: list[Key], folder: Path) -> tuple[dict[Key, Path], list[dict[str, Any]]]:
    """Convert every model; return the files and the figures of the conversions."""
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
            engine=LITERT if key[1] == STOCK else ENGINE,
            input_ids=ids[:length],
            threads=threads,
            # The widest model takes a second a run; `min_time_s` gives fast ones more samples.
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
    return make_report("scaling", rows, rounds=rounds, conversions=made)


def make_tables(report: Mapping[str, Any]) -> list[MarkdownTable]:
    """Make the tables of a report: by length and threads, by depth, by width."""
    return [_by_length(report), _by_depth(report), _by_width(report)]


def make_markdown(report: Mapping[str, Any]) -> str:
    """Make the Markdown of all three tables and their conditions."""
    tables = "\n".join(table.markdown() for table in make_tables(report))
    return f"{tables}\n{_note(report)} Reproduce with `python -m benchmarks.scaling`.\n"


def _by_length(report: Mapping[str, Any]) -> MarkdownTable:
    def cells(layout: str, length: int) -> Iterator[str]:
        yield _label(str(length), layout)
        found = [_row(report, (BASE, layout), length, threads) for threads in THREADS]
        yield from (cell(row.get("latency_ms"), ".1f") for row in found)
        yield from (cell(row.get("tokens_per_s"), ",.0f") for row in found)

    headings = ("ms, 1 thread", "ms, 2 threads", "tokens/s, 1", "tokens/s, 2")
    lines = [("loop", length) for length in LENGTHS]
    lines.insert(LENGTHS.index(T) + 1, (STOCK, T))
    return MarkdownTable("tokens", headings, tuple(tuple(cells(*line)) for line in lines))


def _by_depth(report: Mapping[str, Any]) -> MarkdownTable:
    def cells(model: str, layout: str) -> Iterator[str]:
        yield _label(model.removeprefix("base, "), layout)
        yield from _figures(report, (model, layout))

    lines = [(model, layout) for model in DEPTHS for layout in _layouts(model)]
    return MarkdownTable("passes", FIGURES, tuple(tuple(cells(*line)) for line in lines))


def _by_width(report: Mapping[str, Any]) -> MarkdownTable:
    def cells(model: str) -> Iterator[str]:
        config, made = config_of(model), _conversion(report, (model, "loop"))
        yield f"{model.partition(',')[0]} ({config.hidden_size} × {config.num_hidden_layers})"
        yield f"{count_parameters(config, TASK) / 1e6:.0f} M"
        yield from _figures(report, (model, "loop"))
        yield cell(_scaled(made.get("peak_rss_bytes"), 1e-9), ".1f")

    headings = ("weights", *FIGURES, "convert GB")
    return MarkdownTable("width × passes", headings, tuple(tuple(cells(model)) for model in WIDTHS))


def _label(text: str, layout: str) -> str:
    return f"{text}, stock converter" if layout == STOCK else text


def _layouts(model: str) -> tuple[str, ...]:
    return ("loop", STOCK) if model in STOCKED else ("loop",)


def _figures(report: Mapping[str, Any], key: Key) -> Iterator[str]:
    """Yield the columns `FIGURES`, at T tokens on one thread."""
    row = _row(report, key, T, 1)
    yield cell(_scaled(row.get("size_bytes"), 1e-6), ".1f")
    yield cell(_scaled(row.get("model_rss_bytes"), 1e-6))
    yield cell(row.get("latency_ms"), ".1f")
    yield cell(_conversion(report, key).get("seconds"), ".1f")


def _row(report: Mapping[str, Any], key: Key, length: int, threads: int) -> Mapping[str, Any]:
    names, wanted = ("name", "layout", "seq_len", "threads"), (*key, length, threads)
    rows = report["rows"]
    return next((row for row in rows if tuple(row[name] for name in names) == wanted), {})


def _conversion(report: Mapping[str, Any], key: Key) -> Mapping[str, Any]:
    return next((one for one in report["conversions"] if (one["name"], one["layout"]) == key), {})


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
        "one run of the whole command, ours with its verification. The stock converter's graphs "
        f"are of {T} tokens; their other depths and widths: {NOT_MEASURED}."
    )
    return " ".join([caption(report), explained, *failed])


@click.command(help=__doc__)
@click.option("--rounds", default=3, type=click.IntRange(1), help="Rounds of measurement.")
@click.option("--small", is_flag=True, help="Skip xlarge and xxlarge.")
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--show", "stored", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(rounds: int, small: bool, output: Path, stored: Path | None) -> None:
    """Measure unless `stored` is given; print the tables."""
    if stored is None:
        with tempfile.TemporaryDirectory() as folder:
            report = measure_all(Path(folder), rounds=rounds, small=small)
        LOG.print("Wrote", save_dated_report(report, output))
    else:
        report = read_report(stored)
    for table in make_tables(report):
        LOG.print(table.rich())
    LOG.print(_note(report))


if __name__ == "__main__":
    main()
