"""Compare ALBERT with BERT and DistilBERT through the same pipeline.

\b
python -m benchmarks.bert                        measure, write reference/*.json
python -m benchmarks.bert --rounds 1 --steps 1 --small -o /tmp
                                                 a short trial run
python -m benchmarks.bert --show FILE            print the tables of an existing report

A BERT here is an ALBERT with a separate layer for every pass and with embeddings as wide as the
encoder.  It differs from the real BERT by an H×H projection after the embeddings.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from albert_edge.benchmark.measure import interleave, measure
from albert_edge.benchmark.report_file import Row, make_report, read_report, save_dated_report
from albert_edge.checkpoints.init import count_parameters
from albert_edge.config import AlbertConfig, preset
from benchmarks.markdown_table import MarkdownTable, caption, cell
from benchmarks.shapes import LOG, TASK, make, run

__all__ = ["make_markdown", "make_tables"]

REFERENCE = Path(__file__).parent / "reference"
T, BATCH = 128, 8


def unshared(config: AlbertConfig, passes: int) -> AlbertConfig:
    """Return the shape with `passes` separate layers and embeddings of the hidden size."""
    return dataclasses.replace(
        config,
        num_hidden_layers=passes,
        num_hidden_groups=passes,
        embedding_size=config.hidden_size,
    )


_BASE, _LARGE = preset("albert-base-v2"), preset("albert-large-v2")
# Models of one size train interleaved.  BERT's layers differ, so its layout is `unrolled`.
SIZES: dict[str, dict[str, tuple[AlbertConfig, str]]] = {
    "base": {
        "ALBERT-base": (_BASE, "loop"),
        "BERT-base": (unshared(_BASE, 12), "unrolled"),
        "DistilBERT": (unshared(_BASE, 6), "unrolled"),
    },
    "large": {
        "ALBERT-large": (_LARGE, "loop"),
        "BERT-large": (unshared(_LARGE, 24), "unrolled"),
    },
}
MODELS = {name: one for models in SIZES.values() for name, one in models.items()}
# The papers' claims: a figure, the two models whose ratio it is, and the ratio.  Lan et al. 2020,
# arXiv:1909.11942, table 1 (334M over 18M, 108M over 12M) and table 2; Sanh et al. 2019,
# arXiv:1910.01108, sec. 3 (66M over 110M; 60% faster on a CPU, one text at a time).
CLAIMS = (
    ("parameters", "parameters", "BERT-large", "ALBERT-large", 18.6),
    ("parameters", "parameters", "BERT-base", "ALBERT-base", 9.0),
    ("time of a training step", "step_ms", "BERT-large", "ALBERT-large", 1.7),
    ("parameters", "parameters", "BERT-base", "DistilBERT", 1.7),
    ("latency", "latency_ms", "BERT-base", "DistilBERT", 1.6),
    ("file", "size_bytes", "BERT-large", "ALBERT-large", None),
    ("RAM", "model_rss_bytes", "BERT-large", "ALBERT-large", None),
    ("latency", "latency_ms", "BERT-large", "ALBERT-large", None),
    ("time of a training step", "step_ms", "BERT-base", "ALBERT-base", None),
    ("file", "size_bytes", "BERT-base", "ALBERT-base", None),
    ("RAM", "model_rss_bytes", "BERT-base", "ALBERT-base", None),
    ("latency", "latency_ms", "BERT-base", "ALBERT-base", None),
)

_NOTHING: Mapping[str, Any] = {}


def measure_files(
    names: list[str], folder: Path, rounds: int
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Convert the models and measure every file on the same ids."""
    paths = {name: folder / f"{name}.tflite" for name in names}
    made = {name: make(*MODELS[name], paths[name]) for name in names}
    ids = np.random.default_rng(20).integers(5, _BASE.vocab_size, T).tolist()
    there = [name for name in names if paths[name].exists()]
    takes = [partial(measure, paths[name], input_ids=ids, runs=10) for name in there]
    with LOG.status("Measuring"):
        measurements = interleave(takes, rounds=rounds)
    rows = [
        Row(
            name=name,
            layout=MODELS[name][1],
            measurement=taken,
            verification=made[name]["verification"],
        )
        for name, taken in zip(there, measurements, strict=True)
    ]
    return rows, made


def time_training(size: str, folder: Path, steps: int) -> dict[str, dict[str, list[int]]]:
    """Time the training steps of all models of one size, in one process.

    The large ones need 10 GB at batch 1 and more at 8; if memory is short, the result is empty.
    """
    shapes = []
    for name, (config, _) in SIZES[size].items():
        shapes.append(folder / f"{name}.json")
        shapes[-1].write_text(config.to_json(), encoding="utf-8")
    options = ("--steps", str(steps), "--batch", str(BATCH), "--seq-len", str(T))
    try:
        printed = run(sys.executable, "-m", "benchmarks.train_step", *shapes, *options)["output"]
    except subprocess.CalledProcessError as error:
        LOG.print(str(error), style="yellow")
        return {}
    taken: dict[str, dict[str, list[int]]] = json.loads(printed)
    return taken


def measure_all(folder: Path, *, rounds: int, steps: int, small: bool) -> dict[str, Any]:
    """Convert, measure and train in `folder`; return the JSON document."""
    sizes = ["base"] if small else list(SIZES)
    names = [name for size in sizes for name in SIZES[size]]
    training = {
        name: taken for size in sizes for name, taken in time_training(size, folder, steps).items()
    }
    rows, made = measure_files(names, folder, rounds)
    models = [
        {
            "name": name,
            "parameters": count_parameters(MODELS[name][0], TASK),
            "conversion": made[name],
            "training": _sum_up(training[name]) if name in training else None,
        }
        for name in names
    ]
    return make_report(
        "bert", rows, rounds=rounds, training={"batch": BATCH, "seq_len": T}, models=models
    )


def _sum_up(taken: Mapping[str, list[int]]) -> dict[str, Any]:
    both = np.array([taken["gradient_ns"], taken["update_ns"]])  # [2, steps]
    gradient_ms, update_ms = (np.median(both, axis=1) / 1e6).tolist()
    return {
        "step_ms": float(np.median(both.sum(axis=0))) / 1e6,
        "gradient_ms": gradient_ms,
        "update_ms": update_ms,
        **taken,
    }


def make_tables(report: Mapping[str, Any]) -> list[MarkdownTable]:
    """Make the tables of a report: the models, and the papers' claims beside our measurements."""
    return [_models(report), _claims(report)]


def make_markdown(report: Mapping[str, Any]) -> str:
    """Make the Markdown of both tables and their conditions."""
    tables = "\n".join(table.markdown() for table in make_tables(report))
    return f"{tables}\n{_note(report)} Reproduce with `python -m benchmarks.bert`.\n"


def _models(report: Mapping[str, Any]) -> MarkdownTable:
    def cells(name: str) -> Iterator[str]:
        found = _figures(report, name)
        yield name
        for figure, factor, form in (
            ("parameters", 1e-6, ".1f"),
            ("size_bytes", 1e-6, ".1f"),
            ("model_rss_bytes", 1e-6, ".0f"),
            ("latency_ms", 1, ".1f"),
            ("step_ms", 1e-3, ".2f"),
            ("update_ms", 1e-3, ".2f"),
        ):
            yield cell(found[figure] * factor if figure in found else None, form)

    headings = ("weights, M", "file MB", "RAM MB", "ms", "training step s", "update in it s")
    return MarkdownTable("model", headings, tuple(tuple(cells(name)) for name in MODELS))


def _claims(report: Mapping[str, Any]) -> MarkdownTable:
    found = {name: _figures(report, name) for name in MODELS}

    def cells(what: str, figure: str, one: str, other: str, said: float | None) -> Iterator[str]:
        yield f"{what}, {one} over {other}"
        yield "-" if said is None else f"{said:.1f}"
        above, below = (found[name].get(figure) for name in (one, other))
        yield cell(above / below if above and below else None, ".2f")

    return MarkdownTable(
        "ratio", ("paper", "here"), tuple(tuple(cells(*claim)) for claim in CLAIMS)
    )


def _figures(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Collect the figures of a model: of its file and of its training."""
    row, model = (
        next((one for one in report[part] if one["name"] == name), _NOTHING)
        for part in ("rows", "models")
    )
    training = model.get("training") or {}
    return {
        "parameters": count_parameters(MODELS[name][0], TASK),
        **{key: row[key] for key in ("size_bytes", "model_rss_bytes", "latency_ms") if key in row},
        **{key: value for key, value in training.items() if key.endswith("_ms")},
    }


def _note(report: Mapping[str, Any]) -> str:
    training = report["training"]
    failed = [
        f"{one['name']}: {one['conversion']['not_made']}."
        for one in report["models"]
        if "not_made" in one["conversion"]
    ]
    explained = (
        f"`int8`, classification, {T} tokens, one thread; {_BASE.vocab_size:,} words in every "
        "vocabulary, as in the paper. A training step is Keras' on all cores, float32, AdamW, "
        f"{training['batch']} texts of {training['seq_len']} tokens; the paper's are on many TPUs, "
        "which exchange a gradient for every parameter; one machine does not. BERT here has an "
        "additional H×H projection after its embeddings, 0.3 to 0.9% of its parameters."
    )
    return " ".join([caption(report), explained, *failed])


@click.command(help=__doc__)
@click.option("--rounds", default=3, type=click.IntRange(1), help="Rounds of measurement.")
@click.option("--steps", default=3, type=click.IntRange(1), help="Training steps to time.")
@click.option("--small", is_flag=True, help="Skip the large models.")
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--show", "stored", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(rounds: int, steps: int, small: bool, output: Path, stored: Path | None) -> None:
    """Measure unless `stored` is given; print the tables."""
    if stored is None:
        with tempfile.TemporaryDirectory() as folder:
            report = measure_all(Path(folder), rounds=rounds, steps=steps, small=small)
        LOG.print("Wrote", save_dated_report(report, output))
    else:
        report = read_report(stored)
    for table in make_tables(report):
        LOG.print(table.rich())
    LOG.print(_note(report))


if __name__ == "__main__":
    main()
