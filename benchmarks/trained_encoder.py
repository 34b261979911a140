"""Compare a trained encoder in every recipe and layout with torch's outputs.

\b
python -m benchmarks.trained_encoder DIRECTORY           measure, write reference/*.json, check
python -m benchmarks.trained_encoder DIRECTORY -o /tmp   write the report elsewhere

DIRECTORY is a Hugging Face checkpoint of PL-BERT, with a kokoro_config.json that holds its phonemes
and a golden.npz: input_ids [1, T] and torch_fp32_hidden [1, T, H], the last hidden state.
Calibrated recipes use phonemes.txt, which does not contain the golden input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import albert_edge
from albert_edge.benchmark.report_file import make_report, save_dated_report
from albert_edge.bundle.bundle import Bundle, pack
from albert_edge.config import LAYOUTS
from albert_edge.modeling import Albert
from albert_edge.quantization.model import quantize_stages
from albert_edge.quantization.recipes import RECIPES, Recipe, get_recipe, override_precision
from albert_edge.runtime import open_model
from albert_edge.tflite.link import link

REFERENCE = Path(__file__).parent / "reference"
PHONEMES = Path(__file__).with_name("phonemes.txt")
FLOAT32_LIMIT = 1e-4  # of absolute difference; the hidden states have a magnitude of about 1
# The least mean cosine with float32, in any layout.
LEAST = {"float16": 0.9999, "int8": 0.995, "int16x8": 0.995, "int4": 0.95, "int8-full": 0.95}


def compare(got: npt.NDArray[Any], want: npt.NDArray[Any]) -> dict[str, float]:
    """Compare hidden states, float32 [1, T, H]: the largest difference and the cosines by token."""
    dots = (got * want).sum(-1, dtype=np.float64)  # [1, T]
    cosines = dots / np.linalg.norm(got, axis=-1) / np.linalg.norm(want, axis=-1)
    return {
        "max_difference": float(np.abs(got - want).max()),
        "mean_cosine": float(cosines.mean()),
        "min_cosine": float(cosines.min()),
    }


def steps() -> Iterator[tuple[str, Recipe, str]]:
    """Yield the techniques that improve low-bit recipes, one by one: name, recipe, layout."""
    full = get_recipe("int8-full")
    plain = replace(full, by_row=False, equalized=False)
    yield "int8-full: 16-bit sums and norms", plain, "loop"
    yield "  + a range for each channel that ends in a sum", replace(plain, by_row=True), "loop"
    yield "  + query, key and value equalized", full, "loop"
    yield "  + ranges for every pass", full, "unrolled"
    yield "  + 16-bit attention", override_precision(full, ["layer.attention_scores=int16"]), "loop"
    four = get_recipe("int4")
    nearest = replace(four, compensated=False)
    yield "int4: rounded to the nearest, a scale a row", replace(nearest, block=0), "loop"
    yield "  + a scale for every 64 weights", nearest, "loop"
    yield "int4: rounded by the inputs, a scale a row", replace(four, block=0), "loop"
    yield "  + a scale for every 64 weights", four, "loop"


def calibration(directory: Path, *, texts: Path = PHONEMES) -> list[str]:
    """Encode the calibration sentences, or others, in the encoder's ids, with 0 at both ends."""
    ids = json.loads((directory / "kokoro_config.json").read_text("utf-8"))["vocab"]
    lines = texts.read_text("utf-8").splitlines()
    return [" ".join(str(i) for i in (0, *(ids[c] for c in line if c in ids), 0)) for line in lines]


def make(model: Albert, chosen: Recipe, layout: str, texts: Sequence[str]) -> bytes:
    """Make a file of any recipe, also of one that is not in `RECIPES`."""
    stages = quantize_stages(model, chosen, layout=layout, calibration=texts)
    bundle = Bundle(
        task=model.task,
        layout=layout,
        quantize=chosen.name,
        seq_len=None,
        config=model.config,
        tokenizer_files={},
        provenance={},
        verification=None,
    )
    return pack(link(stages, model.config, layout=layout).model, bundle)


def measure(directory: Path) -> list[dict[str, Any]]:
    """Convert every recipe, layout and technique, run the golden ids and compare."""
    with np.load(directory / "golden.npz") as golden:
        input_ids, want = golden["input_ids"], golden["torch_fp32_hidden"]
    model = albert_edge.load_keras(directory, task="feature-extraction")
    texts = calibration(directory)
    every = [(name, get_recipe(name), layout) for name, layout in product(RECIPES, LAYOUTS)]
    results = []
    for name, chosen, layout in [*every, *steps()]:
        blob = make(model, chosen, layout, texts)
        figures = compare(open_model(blob).run(input_ids)["last_hidden_state"], want)
        results.append({"quantize": name, "layout": layout, "size_bytes": len(blob), **figures})
    return results


def print_table(results: list[dict[str, Any]]) -> None:
    """Print one row for every file."""
    table = Table(box=None)
    for heading in ("recipe", "layout", "file MB", "max difference", "mean cosine", "min cosine"):
        table.add_column(heading, justify="right" if " " in heading else "left")
    for row in results:
        cosines = f"{row['mean_cosine']:.6f}", f"{row['min_cosine']:.6f}"
        numbers = f"{row['size_bytes'] / 1e6:.2f}", f"{row['max_difference']:.2e}", *cosines
        table.add_row(row["quantize"], row["layout"], *numbers)
    Console().print(table)


def check(results: list[dict[str, Any]]) -> bool:
    """Print the thresholds; return whether all are met."""
    worst = max(row["max_difference"] for row in results if row["quantize"] == "float32")
    passed = [worst <= FLOAT32_LIMIT]
    verdict = "PASS" if passed[0] else "FAIL"
    click.echo(f"float32: largest difference {worst:.2e} <= {FLOAT32_LIMIT:g} {verdict}")
    for name, least in LEAST.items():
        cosine = min(row["mean_cosine"] for row in results if row["quantize"] == name)
        passed.append(cosine >= least)
        click.echo(f"{name}: cosine {cosine:.6f} >= {least} {'PASS' if passed[-1] else 'FAIL'}")
    return all(passed)


@click.command(help=__doc__)
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(directory: Path, output: Path) -> None:
    """Exit with 1 if a threshold is missed."""
    results = measure(directory)
    print_table(results)
    report = make_report("trained_encoder", [], encoder=directory.name, results=results)
    click.echo(f"Wrote {save_dated_report(report, output)}", err=True)
    sys.exit(not check(results))


if __name__ == "__main__":
    main()
