"""Trim the vocabulary of ALBERT-base's shape: file sizes, and texts tokenized differently.

\b
python -m benchmarks.vocabulary 30k-clean.model CORPUS.txt HELD_OUT.txt          measure, write
python -m benchmarks.vocabulary ... --quantize int8 --quantize int4 -o /tmp      elsewhere

The files have one text a line: the first selects the pieces to keep, the second measures the effect
on held-out texts.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

import albert_edge
from albert_edge.benchmark.report_file import make_report, save_dated_report
from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.checkpoints.trim_vocab import compare_tokenizers, trim_vocabulary
from albert_edge.datasets.tables import TextLines
from albert_edge.modeling.albert import from_checkpoint
from albert_edge.quantization.recipes import RECIPES
from albert_edge.tokenizer import tokenizer_from_files

REFERENCE = Path(__file__).parent / "reference"
LIMITS_MB = {"int4": 5.6}  # without the tokenizer, with 8,000 pieces
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def read_base(spiece: Path) -> Checkpoint:
    """Make a checkpoint of albert-base-v2's shape with random weights and a tokenizer."""
    base = read_checkpoint("albert-base-v2", task="classification")
    return dataclasses.replace(base, tokenizer_files={"spiece.model": spiece.read_bytes()})


def trim(
    base: Checkpoint, corpus: Path, held_out: Path, size: int | None
) -> tuple[Checkpoint, dict[str, Any]]:
    """Trim the vocabulary to a size, or to the pieces that the corpus needs; return the effect."""
    small = trim_vocabulary(base, TextLines(corpus), size=size)
    before, after = (tokenizer_from_files(one.tokenizer_files) for one in (base, small))
    other = dataclasses.asdict(compare_tokenizers(before, after, TextLines(held_out)))
    figures: dict[str, Any] = {
        "size": size,
        "corpus": dict(small.changes["vocabulary"]),
        "held_out": other,
    }
    for name in ("corpus", "held_out"):
        part = figures[name]
        part["share_of_tokens"] = part["tokens_changed"] / part["tokens_before"]
        part["share_of_texts"] = part["texts_changed"] / part["texts"]
        part["growth"] = part["tokens_after"] / part["tokens_before"] - 1
        tokens, texts, growth = (
            f"{part[key]:.2%}" for key in ("share_of_tokens", "share_of_texts", "growth")
        )
        click.echo(
            f"{small.config.vocab_size:6,} pieces, {name:8}: {tokens} of tokens and {texts} of "
            f"texts change; {growth} more tokens"
        )
    return small, figures


def convert(small: Checkpoint, recipes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Convert with every recipe, with verification."""
    model = from_checkpoint(small)
    results = []
    for quantize in recipes:
        report = albert_edge.convert(model, quantize=quantize).report
        names = ("quantize", "model_bytes", "size_bytes", "duplication", "verification")
        results.append({name: report[name] for name in names})
    return results


def check(results: list[dict[str, Any]], size: int) -> bool:
    """Print the size of every file; return whether the thresholds are met."""
    passed = True
    for row in results:
        megabytes, limit = row["model_bytes"] / 1e6, LIMITS_MB.get(row["quantize"])
        line = (
            f"{row['quantize']:10}{megabytes:6.2f} MB, with tokenizer {row['size_bytes'] / 1e6:.2f}"
        )
        if limit and size == 8000:
            passed &= megabytes <= limit
            line += f"  ≤ {limit} {'PASS' if megabytes <= limit else 'FAIL'}"
        click.echo(line)
    return passed


@click.command(help=__doc__)
@click.argument("spiece", type=FILE)
@click.argument("corpus", type=FILE)
@click.argument("held_out", type=FILE)
@click.option("--size", default=8000, show_default=True, help="How many pieces to keep.")
@click.option(
    "--quantize", "recipes", type=click.Choice(list(RECIPES)), multiple=True, default=["int8"]
)
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
def main(
    spiece: Path, corpus: Path, held_out: Path, size: int, recipes: tuple[str, ...], output: Path
) -> None:
    """Exit with 1 if a file exceeds its threshold."""
    base = read_base(spiece)
    _, needed = trim(base, corpus, held_out, None)
    small, trimmed = trim(base, corpus, held_out, size)
    results = convert(small, recipes)
    passed = check(results, size)
    report = make_report(
        "vocabulary",
        [],
        tokenizer=spiece.name,
        corpus="/".join(corpus.parts[-2:]),
        held_out="/".join(held_out.parts[-2:]),
        trimmings=[needed, trimmed],
        results=results,
    )
    click.echo(f"Wrote {save_dated_report(report, output)}", err=True)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
