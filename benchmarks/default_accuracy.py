"""Measure the embedded model's accuracy in every recipe, with the `.tflite` runtime.

\b
python -m benchmarks.default_accuracy DEV.tsv            measure, write reference/*.json, check
python -m benchmarks.default_accuracy DEV.tsv -o /tmp    write the report elsewhere

DEV.tsv is a table of texts and labels, such as the one in the model card.  Calibrated recipes use
the built-in sentences, as `convert` does by default.  Intervals are 95% intervals.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

import albert_edge
from albert_edge.benchmark.report_file import make_report, save_dated_report
from albert_edge.early_exit import NEVER
from albert_edge.evaluation.evaluate import evaluate
from albert_edge.quantization.recipes import RECIPES

REFERENCE = Path(__file__).parent / "reference"
# The largest permitted loss of accuracy.
LIMITS = {"float16": 0.003, "int8": 0.003, "int16x8": 0.003, "int8-full": 0.01, "int4": 0.01}


def measure(dev: Path) -> list[dict[str, Any]]:
    """Convert the embedded model in every recipe and compare each file with float32.

    One layout is enough: all layouts give the same outputs.
    """
    model = albert_edge.load_keras("default")
    results: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        for quantize in RECIPES:
            path = Path(folder, f"{quantize}.tflite")
            made = albert_edge.convert(model, quantize=quantize, early_exit=NEVER)  # all layers
            made.save(path)
            report = evaluate(path.with_stem(next(iter(RECIPES))), dev, against=path)
            accuracy = report["models"][1]["metrics"]["accuracy"]
            results.append(
                {
                    "quantize": quantize,
                    "size_bytes": made.report["model_bytes"],
                    "examples": report["examples"],
                    "accuracy": accuracy["value"],
                    "low": accuracy["low"],
                    "high": accuracy["high"],
                    "agreement": report["agreement"],
                }
            )
    return results


@click.command(help=__doc__)
@click.argument("dev", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(dev: Path, output: Path) -> None:
    """Exit with 1 if a recipe loses more accuracy against float32 than its limit."""
    results = measure(dev)
    passed = True
    for row in results:
        loss, limit = results[0]["accuracy"] - row["accuracy"], LIMITS.get(row["quantize"], 0.0)
        passed &= loss <= limit
        click.echo(
            f"{row['quantize']:10}{row['size_bytes'] / 1e6:6.2f} MB  accuracy {row['accuracy']:.4f}"
            f" ({row['low']:.4f} to {row['high']:.4f}), loss {loss:+.4f} <= {limit:g} "
            f"{'PASS' if loss <= limit else 'FAIL'}; agrees with float32 on {row['agreement']:.4f}"
        )
    examples = results[0]["examples"]
    report = make_report("default_accuracy", [], dev=dev.name, examples=examples, results=results)
    click.echo(f"Wrote {save_dated_report(report, output)}", err=True)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
