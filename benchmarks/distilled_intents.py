"""Compare a distilled encoder with its teacher and with where it started, by intents.

python -m benchmarks.distilled_intents TEACHER STUDENT DATA.tsv       (columns split, text, intent)

Every sentence of the split `test` gets the intent of the nearest sentence of `train` (see
`benchmarks.intents`), by four kinds of vectors: the mean of the last hidden states of TEACHER, of
STUDENT, and of a student of the same shape before its first step, which has TEACHER's embeddings;
and the mean of TEACHER's word embeddings.  Prints the accuracies with their 95% intervals, and
whether STUDENT's lies above those of the last two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.checkpoints.trim_vocab import match_vocabulary
from albert_edge.cli.console import print_report
from albert_edge.evaluation.intervals import wilson
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batching import encode_texts
from albert_edge.training.dev_metrics import KerasForward
from albert_edge.training.init import make_student
from benchmarks.intents import find_intents, read_intents

_ENCODER = "feature-extraction"
Embed = Callable[[list[str]], np.ndarray]


def mean_state(checkpoint: Checkpoint) -> Embed:
    """Return what makes vectors of texts: the mean of the last hidden states, of length 1."""
    tokenizer = tokenizer_from_files(checkpoint.tokenizer_files)
    forward = KerasForward(checkpoint)

    def embed(texts: list[str]) -> np.ndarray:
        ids = encode_texts(texts, tokenizer, max_length=128)
        vectors = np.zeros((len(ids), checkpoint.config.hidden_size), np.float32)
        for row, outputs in forward(ids):
            vectors[row] = outputs["last_hidden_state"][0].mean(axis=0)
        return _unit(vectors)

    return embed


def mean_word(checkpoint: Checkpoint) -> Embed:
    """Return what makes vectors of texts: the mean of the word embeddings, of length 1."""
    tokenizer = tokenizer_from_files(checkpoint.tokenizer_files)
    words = checkpoint.tensors["embeddings/word_embeddings"]

    def embed(texts: list[str]) -> np.ndarray:
        ids = encode_texts(texts, tokenizer, max_length=128)
        return _unit(np.stack([words[one[1:-1]].mean(axis=0) for one in ids]))

    return embed


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _show(report: dict[str, Any]) -> list[str]:
    lines = [f"{report['asked']} asked, {report['known']} known"]
    for name, found in report["vectors"].items():
        low, high = found["interval"]
        lines.append(f"{name:32} {found['accuracy']:.1%} [{low:.1%}, {high:.1%}]")
    return [*lines, "above its start and the mean word: " + ["no", "yes"][report["is_above"]]]


@click.command()
@click.argument("teacher")
@click.argument("student")
@click.argument("data", type=click.Path(exists=True))
@click.option("--known", type=int, help="Take this many known sentences only, evenly spaced.")
@click.option("--asked", type=int, help="Ask this many sentences only, evenly spaced.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def main(
    teacher: str, student: str, data: str, known: int | None, asked: int | None, as_json: bool
) -> None:
    """Compare STUDENT with TEACHER and with its start on DATA."""
    trained = read_checkpoint(student, task=_ENCODER)
    teaching = match_vocabulary(read_checkpoint(teacher, task=_ENCODER), trained.tokenizer_files)
    kinds = {
        "teacher": mean_state(teaching),
        "student": mean_state(trained),
        "student before its first step": mean_state(make_student(teaching, trained.config, seed=0)),
        "mean of teacher's words": mean_word(teaching),
    }
    splits = [
        rows[:: max(len(rows) // (most or len(rows)), 1)][:most]
        for rows, most in zip(read_intents(data), (known, asked), strict=True)
    ]
    report: dict[str, Any] = {"known": len(splits[0]), "asked": len(splits[1]), "vectors": {}}
    for name, embed in kinds.items():
        right = find_intents(*splits, embed)
        bounds = wilson(int(right.sum()), len(right))
        report["vectors"][name] = {"accuracy": float(right.mean()), "interval": list(bounds)}
    _, own, *others = (found["interval"] for found in report["vectors"].values())
    report["is_above"] = all(own[0] > other[1] for other in others)
    print_report(report, as_json=as_json, render=_show)


if __name__ == "__main__":
    sys.exit(main())
