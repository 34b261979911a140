"""A trained encoder through every recipe and layout, against the values torch computes.

\b
python -m benchmarks.trained_encoder DIRECTORY           measure, write reference/*.json, check
python -m benchmarks.trained_encoder DIRECTORY -o /tmp   the same, written elsewhere

DIRECTORY is a Hugging Face checkpoint with a golden.npz beside it: input_ids [1, T] and
torch_fp32_hidden [1, T, H], the last hidden state.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import albert_edge
from albert_edge.benchmark.report import document, write_document
from albert_edge.compression.recipes import LAYOUTS, RECIPES
from albert_edge.runtime import open_model

REFERENCE = Path(__file__).parent / "reference"
FLOAT32_LIMIT = 1e-4  # of absolute difference; the hidden states are of the order of 1


def compare(got: npt.NDArray[Any], want: npt.NDArray[Any]) -> dict[str, float]:
    """Compare hidden states, float32 [1, T, H]: the worst value, and the cosines of tokens."""
    dots = (got * want).sum(-1, dtype=np.float64)  # [1, T]
    cosines = dots / np.linalg.norm(got, axis=-1) / np.linalg.norm(want, axis=-1)
    return {
        "max_difference": float(np.abs(got - want).max()),
        "mean_cosine": float(cosines.mean()),
        "min_cosine": float(cosines.min()),
    }


def compare_all(directory: Path) -> list[dict[str, Any]]:
    """Convert every recipe and layout, run each on the golden ids and compare."""
    with np.load(directory / "golden.npz") as golden:
        input_ids, want = golden["input_ids"], golden["torch_fp32_hidden"]
    model = albert_edge.load_keras(directory, task="feature-extraction")
    results = []
    for quantize, layout in product(RECIPES, LAYOUTS):
        made = albert_edge.convert(model, quantize=quantize, layout=layout)
        got = open_model(made.blob).run(input_ids)["last_hidden_state"]
        figures = compare(got, want)
        results.append(
            {"quantize": quantize, "layout": layout, "size_bytes": len(made.blob), **figures}
        )
    return results


def print_table(results: list[dict[str, Any]]) -> None:
    """Print one line for every file."""
    table = Table(box=None)
    for heading in ("recipe", "layout", "file MB", "max difference", "mean cosine", "min cosine"):
        table.add_column(heading, justify="right" if " " in heading else "left")
    for row in results:
        cosines = f"{row['mean_cosine']:.6f}", f"{row['min_cosine']:.6f}"
        numbers = f"{row['size_bytes'] / 1e6:.2f}", f"{row['max_difference']:.2e}", *cosines
        table.add_row(row["quantize"], row["layout"], *numbers)
    Console().print(table)


@click.command(help=__doc__)
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(directory: Path, output: Path) -> None:
    """Exit with 1 if a float32 file is off by more than the limit."""
    results = compare_all(directory)
    print_table(results)
    report = document("trained_encoder", [], encoder=directory.name, results=results)
    click.echo(f"Wrote {write_document(report, output)}", err=True)
    worst = max(row["max_difference"] for row in results if row["quantize"] == "float32")
    passed = worst <= FLOAT32_LIMIT
    verdict = "PASS" if passed else "FAIL"
    click.echo(f"float32 in every layout: {worst:.2e} <= {FLOAT32_LIMIT:g} {verdict}")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
