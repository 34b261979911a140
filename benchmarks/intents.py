"""Find the intent of a sentence by its nearest neighbour among known ones: how good are vectors?

python -m benchmarks.intents embeddings DATA.tsv       (columns split, text, intent)

Every sentence of the split `test` gets the intent of the nearest sentence of `train`, by the cosine
of the vectors of MODEL.  Prints the accuracy with its 95% interval.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import albert_edge
from albert_edge.evaluation.intervals import wilson


def read_intents(data: str | Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the known sentences and those that are asked, each with its `text` and `intent`."""
    with Path(data).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    known, asked = ([row for row in rows if row["split"] == split] for split in ("train", "test"))
    return known, asked


def find_intents(
    known: Sequence[Mapping[str, str]],
    asked: Sequence[Mapping[str, str]],
    embed: Callable[[list[str]], np.ndarray],
) -> np.ndarray:
    """Return which of the asked sentences get their intent: bool [n].

    Args:
        known, asked: Sentences, each with its `text` and `intent`.
        embed: Makes of n texts their vectors of length 1, float32 [n, H].
    """
    vectors, wanted = (embed([row["text"] for row in split]) for split in (known, asked))
    nearest = np.argmax(wanted @ vectors.T, axis=1).tolist()
    return np.array(
        [known[at]["intent"] == row["intent"] for at, row in zip(nearest, asked, strict=True)]
    )


def score(model: str, data: str) -> tuple[int, int, int]:
    """Return how many sentences got their intent, were asked, and were known."""
    known, asked = read_intents(data)
    pipe: Any = albert_edge.load(model)
    right = find_intents(known, asked, pipe.embed)
    return int(right.sum()), len(asked), len(known)


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.argument("data")
def main(models: tuple[str, ...], data: str) -> None:
    """Score every one of MODELS on DATA."""
    for model in models:
        right, asked, known = score(model, data)
        low, high = wilson(right, asked)
        print(f"{model}: {right / asked:.1%} [{low:.1%}, {high:.1%}] of {asked}, {known} known")


if __name__ == "__main__":
    sys.exit(main())
