"""Compare free length with padding on real texts: ALBERT-base's shape in int8.

\b
python -m benchmarks.lengths DATA_FOLDER                 measure, write reference/*.json, check
python -m benchmarks.lengths DATA_FOLDER --rounds 1 -o /tmp  a short trial run
python -m benchmarks.lengths DATA_FOLDER --check FILE    check an existing report

DATA_FOLDER has sentiment/dev.tsv, squad/dev-v1.1.from-explorer.json and albert_spm/30k-clean.model.
Lengths are counted in tokens over all texts.  The timed sample takes every n-th of the sorted
lengths, shuffled, so that the free-length file gets a new length each time.

On a processor with AMX, the sentences are also measured with AMX disabled: AMX halves the padded
time, but a short text's time goes into loading weights, 7 MB a pass at any length.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console

import albert_edge
from albert_edge.benchmark.measure import Measurement, interleave, measure
from albert_edge.benchmark.report_file import Row, make_report, save_dated_report
from albert_edge.benchmark.statistics import latency_stats
from albert_edge.datasets.squad import read_squad
from albert_edge.datasets.tables import read_table
from albert_edge.tokenizer import load_tokenizer
from benchmarks import amx
from benchmarks.markdown_table import MarkdownTable, caption
from benchmarks.stream import ENGINE as STREAM
from benchmarks.thresholds import print_thresholds

__all__ = ["make_markdown", "make_table"]

REFERENCE = Path(__file__).parent / "reference"
SENTIMENT, SENTIMENT_30K, SQUAD = "sentiment", "sentiment, 30,000 pieces", "SQuAD 1.1"
WITHOUT_AMX = f"{SENTIMENT}, AMX withheld"
PADDED = {SENTIMENT: 128, WITHOUT_AMX: 128, SENTIMENT_30K: 128, SQUAD: 384}
LIMIT = 0.25  # of the time with padding to 128
GRID = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384)
SAMPLE = 32  # texts
BIN = 16  # tokens, of the histogram
LOG = Console(stderr=True)
LOG.width = max(LOG.width, 100)  # the width of the table


def read_lengths(data: Path) -> dict[str, npt.NDArray[np.int64]]:
    """Count the tokens of every text with its special tokens, at most the padded length."""
    embedded = load_tokenizer("default")
    base = load_tokenizer(data / "albert_spm" / "30k-clean.model")
    rows = read_table(data / "sentiment" / "dev.tsv", {"text": ("sentence",)})
    questions, _ = read_squad(data / "squad" / "dev-v1.1.from-explorer.json")
    texts = [row.values["text"] for row in rows]
    counted = {
        SENTIMENT: [len(embedded.encode(text).input_ids) for text in texts],
        SENTIMENT_30K: [len(base.encode(text).input_ids) for text in texts],
        SQUAD: [len(base.encode(one.question, one.context).input_ids) for one in questions],
    }
    if amx.present():
        counted[WITHOUT_AMX] = counted[SENTIMENT]
    return {
        name: np.minimum(counted[name], most) for name, most in PADDED.items() if name in counted
    }


def stratify(lengths: npt.NDArray[np.int64], count: int) -> list[int]:
    """Return the medians of `count` equal parts of the sorted lengths, shuffled."""
    places = (np.arange(count) + 0.5) / count
    middle = np.quantile(lengths, places, method="inverted_cdf")
    return [int(one) for one in np.random.default_rng(20).permutation(middle)]


def convert_all(folder: Path) -> dict[int | None, Path]:
    """Convert the shape for free length and for every padded length."""
    model = albert_edge.load_keras("albert-base-v2", task="classification")
    paths = {length: folder / f"{length or 'free'}.tflite" for length in (None, 128, 384)}
    for length, path in paths.items():
        albert_edge.convert(model, quantize="int8", seq_len=length).save(path)
    return paths


def measure_all(paths: dict[int | None, Path], samples: dict[str, list[int]], rounds: int) -> Any:
    """Measure each set free and padded, and the free file on a grid of lengths, interleaved."""
    pairs = [(name, length) for name in samples for length in (None, PADDED[name])]
    takes = [
        partial(
            measure,
            paths[length],
            engine=STREAM,
            options={"without": "amx"} if name == WITHOUT_AMX else {},
            input_ids=samples[name],
            runs=3,
            warmup=1,
        )
        for name, length in pairs
    ]
    takes += [partial(measure, paths[None], seq_len=length, runs=10) for length in GRID]
    with LOG.status("Measuring"):
        taken = interleave(takes, rounds=rounds)
    return dict(zip(pairs, taken, strict=False)), dict(zip(GRID, taken[len(pairs) :], strict=True))


def summarize(
    lengths: npt.NDArray[np.int64],
    sample: list[int],
    free: Measurement,
    padded: Measurement,
) -> dict[str, Any]:
    """Summarize a set: its lengths, the mean time of a text, and the ratios."""
    counts, edges = np.histogram(lengths, bins=np.arange(0, max(lengths) + BIN + 1, BIN))
    return {
        "texts": len(lengths),
        "mean_tokens": float(lengths.mean()),
        "median_tokens": float(np.median(lengths)),
        "histogram": {"from": edges[:-1].tolist(), "texts": counts.tolist()},
        "sample_mean_tokens": float(np.mean(sample)),
        "free_ms": free.latency_ms / len(sample),
        "padded_ms": padded.latency_ms / len(sample),
        "ratio": free.latency_ms / padded.latency_ms,
        "ratio_of_cpu": free.cpu_ms / padded.cpu_ms,
    }


def measure_lengths(data: Path, *, rounds: int) -> dict[str, Any]:
    """Convert and measure everything; return the JSON document."""
    lengths = read_lengths(data)
    samples = {name: stratify(found, SAMPLE) for name, found in lengths.items()}
    with TemporaryDirectory() as folder:
        streams, grid = measure_all(convert_all(Path(folder)), samples, rounds)
    sets = {
        name: {
            "padded_to": most,
            **summarize(lengths[name], samples[name], streams[name, None], streams[name, most]),
        }
        for name, most in PADDED.items()
        if name in lengths
    }
    rows = [
        Row(name=name, layout=f"padded to {length}" if length else "free", measurement=one)
        for (name, length), one in streams.items()
    ]
    by_length = {str(length): latency_stats(one.samples_ns) for length, one in grid.items()}
    return make_report("lengths", rows, sets=sets, free_length=by_length)


def make_table(report: Mapping[str, Any]) -> MarkdownTable:
    """Make the table, one row a set."""

    def cells(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
        free, padded = f"{one['free_ms']:.1f}", f"{one['padded_ms']:.1f}"
        texts, tokens = f"{one['texts']:,}", f"{one['mean_tokens']:.1f}"
        return name, texts, tokens, free, str(one["padded_to"]), padded, f"{one['ratio']:.3f}"

    headings = ("texts", "mean tokens", "free ms", "padded to", "padded ms", "ratio")
    return MarkdownTable(
        "texts of", headings, tuple(cells(*item) for item in report["sets"].items())
    )


def make_markdown(report: Mapping[str, Any]) -> str:
    """Make the Markdown of the table and its conditions."""
    return f"{make_table(report).markdown()}\n{_note(report)}\n"


def _note(report: Mapping[str, Any]) -> str:
    return (
        f"{caption(report)} `int8` of ALBERT-base's shape on one thread, the mean over real texts. "
        "Reproduce with `python -m benchmarks.lengths`."
    )


def check(report: dict[str, Any]) -> bool:
    """Print the thresholds: a quarter of the padded time for sentences, on both clocks."""
    names = {"ratio": "latency", "ratio_of_cpu": "CPU time"}
    return print_thresholds(
        (f"{name}, free over padded to 128: {names[key]}", found[key], "≤", LIMIT)
        for name, found in report["sets"].items()
        if name in (SENTIMENT, WITHOUT_AMX)
        for key in names
    )


@click.command(help=__doc__)
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--rounds", default=3, type=click.IntRange(1), help="Rounds of measurement.")
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--check", "stored", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(data: Path, rounds: int, output: Path, stored: Path | None) -> None:
    """Measure unless `stored` is given; exit with 1 if a threshold is missed."""
    if stored is None:
        report = measure_lengths(data, rounds=rounds)
        LOG.print("Wrote", save_dated_report(report, output))
    else:
        report = json.loads(stored.read_text(encoding="utf-8"))
    LOG.print(make_table(report).rich())
    LOG.print(_note(report))
    sys.exit(not check(report))


if __name__ == "__main__":
    main()
