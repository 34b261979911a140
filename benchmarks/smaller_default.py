"""Prune and cluster the embedded model: the zipped size of its int8 file, and its accuracy.

\b
python -m benchmarks.smaller_default TRAIN.tsv DEV.tsv --work FOLDER    some minutes a method
python -m benchmarks.smaller_default TRAIN.tsv DEV.tsv --work FOLDER --only cluster -o /tmp

The tables are those of the model card.  FOLDER keeps checkpoints and interrupted trainings;
finished steps are not repeated.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click

from albert_edge.benchmark.report_file import make_report, save_dated_report
from albert_edge.files import write_file
from albert_edge.training.compression.compress import compress_files
from albert_edge.training.compression.methods import OPTIONS, Cluster, Method, Prune

REFERENCE = Path(__file__).parent / "reference"
# A method and its epochs: pruning needs more of them than clustering.
METHODS: dict[str, tuple[Method, int]] = {
    "prune": (Prune(sparsity=0.5), 4),
    "prune-2-4": (Prune(pattern="2:4"), 4),
    "prune-block": (Prune(pattern="block"), 4),
    "cluster": (Cluster(clusters=32), 2),
}
REQUIRED = ("prune", "cluster")  # the others are for comparison
LOSS_LIMIT, ZIP_LIMIT = (
    0.01,
    0.6,
)  # of the int8 file's accuracy, and the share of the dense file's size


def measure(name: str, train: Path, dev: Path, work: Path) -> dict[str, Any]:
    """Compress the embedded model, resume its training, or read the finished report."""
    output, figures = work / name, work / f"{name}.json"
    if not figures.exists():
        method, epochs = METHODS[name]
        report = compress_files(
            "default",
            train,
            output,
            method=method,
            dev=dev,
            options=dataclasses.replace(OPTIONS, epochs=epochs, learning_rate=1e-3),
            resume=output.with_name(f"{name}.training").exists(),
        )
        write_file(figures, json.dumps({**report, "output": name}, indent=2).encode())
    result: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return result


def check(name: str, result: dict[str, Any]) -> bool:
    """Print a line; return whether the thresholds are met."""
    change, new = result["change"], result["int8"]["after"]
    passed = change["value"] >= -LOSS_LIMIT and result["zip_share"] <= ZIP_LIMIT
    low, high = change["interval"]
    click.echo(
        f"{name:12} zips to {result['zip_share']:.4f} of the dense file, "
        f"{result['zip_share_of_zip']:.4f} of its zip, "
        f"{new['huffman_bytes'] / new['size_bytes']:.4f} without matches; accuracy of int8 "
        f"{new['accuracy']:.4f}, changed by {change['value']:+.4f} "
        f"({low:+.4f} to {high:+.4f}); agreement {result['agreement']:.4f}  "
        f"{'PASS' if passed else 'FAIL' if name in REQUIRED else 'not required'}"
    )
    return passed or name not in REQUIRED


@click.command(help=__doc__)
@click.argument("train", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("dev", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--only", multiple=True, type=click.Choice(list(METHODS)))
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(train: Path, dev: Path, work: Path, only: tuple[str, ...], output: Path) -> None:
    """Exit with 1 if a threshold is missed."""
    results = {name: measure(name, train, dev, work) for name in only or METHODS}
    report = make_report("smaller_default", [], train=train.name, dev=dev.name, results=results)
    click.echo(f"Wrote {save_dated_report(report, output)}", err=True)
    missed = [name for name, result in results.items() if not check(name, result)]
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
