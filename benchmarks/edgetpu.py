"""Measure how well the folder of --target edgetpu answers, its products computed on the CPU.

\b
python -m benchmarks.edgetpu ENCODER DEV.tsv           measure, write reference/edgetpu-*.json
python -m benchmarks.edgetpu ENCODER DEV.tsv -o /tmp   write the report elsewhere

ENCODER is a Hugging Face checkpoint of PL-BERT, with a kokoro_config.json that holds its phonemes.
It is calibrated on phonemes.txt and compared with float32 on phonemes_held_out.txt.  DEV.tsv has
the columns text and label, for the embedded model.  ALBERT-base's shape has random weights and ids.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from albert_edge.benchmark.report_file import report_header, save_dated_report
from albert_edge.benchmark.system import describe_machine
from albert_edge.conversion import convert
from albert_edge.evaluation.evaluate import evaluate
from albert_edge.inspection import inspect
from albert_edge.modeling import Albert, load_keras
from albert_edge.runtime import open_model
from benchmarks.trained_encoder import PHONEMES, calibration, compare

REFERENCE = Path(__file__).parent / "reference"
HELD_OUT = PHONEMES.with_name("phonemes_held_out.txt")
TOKENS = 128
LEAST_COSINE, MOST_LOST = 0.97, 0.01


def make_folder(model: Albert, path: Path, texts: Sequence[str] | None) -> dict[str, Any]:
    """Write the folder; return figures of its products and of its verification."""
    made = convert(model, target="edgetpu", calibration=texts)
    made.save(path)
    figures = inspect(path, accelerator="edgetpu")["edgetpu"]
    keys = ("operators", "mapped", "weights", "transfers", "multiply_adds")
    return {
        "size_bytes": made.report["size_bytes"],
        "conversion_s": made.report["conversion_s"],
        "products": made.report["products"],
        **{key: figures[key] for key in keys},
    }


def measure_encoder(directory: Path, folder: Path) -> dict[str, Any]:
    """Compare hidden states of texts that it was not calibrated on."""
    model = load_keras(directory, task="feature-extraction")
    made = make_folder(model, folder / "encoder", calibration(directory))
    edge, cosines, worst = open_model(folder / "encoder"), [], []
    for row in calibration(directory, texts=HELD_OUT):
        ids = np.array([row.split()], np.int32)  # [1, T]
        want = model({"input_ids": ids})["last_hidden_state"].numpy()
        figures = compare(edge.run(ids)["last_hidden_state"], want)
        cosines.append(figures["mean_cosine"])
        worst.append(figures["min_cosine"])
    return {
        "name": "encoder",
        **made,
        "texts": len(cosines),
        "mean_cosine": float(np.mean(cosines)),
        "worst_text_cosine": min(cosines),
        "worst_token_cosine": min(worst),
        "passed": float(np.mean(cosines)) >= LEAST_COSINE,
    }


def measure_shape(folder: Path) -> dict[str, Any]:
    """Compare the outputs of ALBERT-base's shape at 128 tokens."""
    model = load_keras("albert-base-v2", task="feature-extraction")
    made = make_folder(model, folder / "shape", None)
    ids = np.random.default_rng(0).integers(5, model.config.vocab_size, (1, TOKENS), np.int32)
    got = open_model(folder / "shape").run(ids)["last_hidden_state"]
    want = model({"input_ids": ids})["last_hidden_state"].numpy()
    error = float(np.linalg.norm(got - want) / np.linalg.norm(want))
    return {"name": "albert-base-v2", **made, **compare(got, want), "error": error}


def measure_classifier(data: Path, folder: Path) -> dict[str, Any]:
    """Compare the embedded model's accuracy with float32."""
    model = load_keras("default")
    made = make_folder(model, folder / "default", None)
    exact = convert(model, quantize="float32").save(folder / "float32.tflite")
    report = evaluate(str(folder / "default"), str(data), against=str(exact))
    accuracies = [one["metrics"]["accuracy"]["value"] for one in report["models"]]
    return {
        "name": "default",
        **made,
        "sentences": report["examples"],
        "accuracy": accuracies[0],
        "float32_accuracy": accuracies[1],
        "agreement": report["agreement"],
        "passed": accuracies[0] >= accuracies[1] - MOST_LOST,
    }


_MODELS = {
    "encoder": "PL-BERT, a trained encoder of 768",
    "albert-base-v2": "ALBERT-base's shape, random weights, 128 tokens",
    "default": "the embedded classifier",
}


def make_markdown(report: Mapping[str, Any]) -> str:
    """Return the table, and how to reproduce it."""
    lines = [
        "| model | weights on the chip | calls, bytes for 128 tokens | against float32 |",
        "| --- | ---: | ---: | --- |",
    ]
    for row in report["rows"]:
        moved = row["transfers"]
        size = (moved["input_bytes"] + moved["output_bytes"]) / 1e6
        weights = f"{row['weights']['bytes'] / 2**20:.2f} MiB"
        cells = (_MODELS[row["name"]], weights, f"{moved['calls']}, {size:.1f} MB", _describe(row))
        lines.append(f"| {' | '.join(cells)} |")
    where = (
        f"The products computed on the CPU, {report['date']}. Reproduce with "
        "`python -m benchmarks.edgetpu ENCODER DEV.tsv`."
    )
    return "\n".join([*lines, "", where, ""])


def _describe(row: Mapping[str, Any]) -> str:
    if row["name"] == "encoder":
        return (
            f"cosine {row['mean_cosine']:.4f} on {row['texts']} texts that it was not calibrated "
            f"on, {row['worst_text_cosine']:.4f} on the worst"
        )
    if row["name"] == "default":
        return (
            f"accuracy {row['accuracy']:.2%} instead of {row['float32_accuracy']:.2%} on "
            f"{row['sentences']:,} sentences, calibrated on the built-in ones"
        )
    return f"error {row['error']:.4f}, cosine {row['mean_cosine']:.4f}"


@click.command(help=__doc__)
@click.argument("encoder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("dev", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(encoder: Path, dev: Path, output: Path) -> None:
    """Exit with 1 if a threshold is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), []
        for measure in (
            lambda: measure_encoder(encoder, folder),
            lambda: measure_shape(folder),
            lambda: measure_classifier(dev, folder),
        ):
            rows.append(measure())
            click.echo(json.dumps(rows[-1]))
    report = {**report_header("edgetpu", describe_machine()), "complete": True, "rows": rows}
    click.echo(save_dated_report(report, output))
    if not all(row.get("passed", True) for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
