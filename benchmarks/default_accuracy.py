"""The embedded model's accuracy in every recipe, as a device would answer.

\b
python -m benchmarks.default_accuracy DEV.tsv            measure, write reference/*.json, check
python -m benchmarks.default_accuracy DEV.tsv -o /tmp    the same, written elsewhere

DEV.tsv is a table of texts and labels, such as the one the model card names.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

import albert_edge
from albert_edge.benchmark.report import document, write_document
from albert_edge.compression.recipes import RECIPES
from albert_edge.training import LabelledTexts, read_labelled

REFERENCE = Path(__file__).parent / "reference"
LOSS_LIMIT = 0.005  # half a point: what int8 may cost


def measure(data: LabelledTexts) -> list[dict[str, Any]]:
    """Convert the embedded model in every recipe, and answer every text with it.

    One layout will do: all of them give the same answers, bit for bit.
    """
    model = albert_edge.load_keras("default")
    results: list[dict[str, Any]] = []
    for quantize in RECIPES:
        made = albert_edge.convert(model, quantize=quantize)
        pipe = albert_edge.load(made.blob)
        labels = [pipe(text)["label"] for text in data.texts]
        answers = np.array([data.labels.index(label) for label in labels])
        first = results[0]["answers"] if results else answers
        results.append(
            {
                "quantize": quantize,
                "size_bytes": len(made.blob),
                "accuracy": float((answers == data.classes).mean()),
                "agreement": float((answers == first).mean()),
                "answers": answers,
            }
        )
    return [{key: row[key] for key in row if key != "answers"} for row in results]


@click.command(help=__doc__)
@click.argument("dev", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(dev: Path, output: Path) -> None:
    """Exit with 1 if a recipe is less accurate than the first one, float32, by over the limit."""
    data = read_labelled(dev, labels=albert_edge.load_keras("default").config.labels)
    results = measure(data)
    for row in results:
        click.echo(
            f"{row['quantize']:10}{row['size_bytes'] / 1e6:6.2f} MB  accuracy {row['accuracy']:.4f}"
            f"  agrees with float32 on {row['agreement']:.4f}"
        )
    report = document("default_accuracy", [], dev=dev.name, examples=len(data), results=results)
    click.echo(f"Wrote {write_document(report, output)}", err=True)
    loss = results[0]["accuracy"] - min(row["accuracy"] for row in results)
    passed = loss <= LOSS_LIMIT
    click.echo(f"largest loss {loss:.4f} <= {LOSS_LIMIT} {'PASS' if passed else 'FAIL'}")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
