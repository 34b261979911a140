"""Compare quantization-aware training of the embedded model with post-training quantization.

\b
python -m benchmarks.qat_default TRAIN.tsv DEV.tsv --work FOLDER    some minutes a recipe
python -m benchmarks.qat_default TRAIN.tsv DEV.tsv --work FOLDER --only int8-full -o /tmp

The tables are those of the model card.  FOLDER keeps checkpoints and interrupted trainings;
finished steps are not repeated.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from albert_edge.benchmark.report_file import make_report, save_dated_report
from albert_edge.files import write_file
from albert_edge.training.compression.compress import compress_files
from albert_edge.training.compression.methods import TRAINABLE, Qat

REFERENCE = Path(__file__).parent / "reference"
LOSS_LIMITS = {"int8-full": 0.005, "int4": 0.01}  # against the source's accuracy in float32


def measure(recipe: str, train: Path, dev: Path, work: Path) -> dict[str, Any]:
    """Train the embedded model, resume its training, or read the finished report."""
    output, figures = work / f"qat-{recipe}", work / f"qat-{recipe}.json"
    if not figures.exists():
        report = compress_files(
            "default",
            train,
            output,
            method=Qat(quantize=recipe),
            dev=dev,
            resume=output.with_name(f"{output.name}.training").exists(),
        )
        write_file(figures, json.dumps({**report, "output": output.name}, indent=2).encode())
    result: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return result


def check(recipe: str, result: dict[str, Any]) -> bool:
    """Print the figures; return whether the accuracy threshold is met."""
    exact = result["accuracy"]["before"]
    click.echo(f"{recipe}: the source's accuracy in float32 is {exact:.4f}")
    for moment in ("before", "after"):
        file = result[recipe][moment]
        low, high = file["interval"]
        click.echo(
            f"  {moment:6} accuracy {file['accuracy']:.4f} ({low:.4f} to {high:.4f}), agreement "
            f"with the source {file['source_agreement']:.4f}, probabilities off by "
            f"{file['source_difference']:.5f}"
        )
    nearer, change = result["source_difference_change"], result["change"]
    for name, entry in (("accuracy", change), ("probabilities off", nearer)):
        low, high = entry["interval"]
        click.echo(f"  change of {name}: {entry['value']:+.5f} ({low:+.5f} to {high:+.5f})")
    kept = result[recipe]["after"]["accuracy"] >= exact - LOSS_LIMITS[recipe]
    click.echo(f"  {'PASS' if kept else 'FAIL'}")
    return bool(kept)


@click.command(help=__doc__)
@click.argument("train", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("dev", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--only", multiple=True, type=click.Choice(list(TRAINABLE)))
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(train: Path, dev: Path, work: Path, only: tuple[str, ...], output: Path) -> None:
    """Exit with 1 if a threshold is missed."""
    results = {recipe: measure(recipe, train, dev, work) for recipe in only or TRAINABLE}
    report = make_report("qat_default", [], train=train.name, dev=dev.name, results=results)
    click.echo(f"Wrote {save_dated_report(report, output)}", err=True)
    missed = [recipe for recipe, result in results.items() if not check(recipe, result)]
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
