"""Objectives of small data, and the options to encode them without augmentation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.tokenizer import Tokenizer
from albert_edge.training.objective import EncodedEpoch, TaskObjective
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.tasks import OBJECTIVES
from albert_edge.training.tasks.classification import ClassificationObjective

PLAIN = FinetuneOptions(
    word_dropout=0.0, sampling=1.0, label_smoothing=0.0, max_length=12, window=24
)

TEXT = "a red fox met the lazy dog and the other red fox in Oslo , and Ada Lovelace saw it"


def read(folder: Path, name: str, content: str, kind: str, *labels: str) -> TaskObjective:
    (folder / name).write_text(content)
    return OBJECTIVES[kind](read_examples(folder / name, kind, labels, EvaluateOptions()))


def draw(lesson: TaskObjective, tokenizer: Tokenizer, **options: Any) -> EncodedEpoch:
    return lesson.encode_epoch(
        tokenizer, dataclasses.replace(PLAIN, **options), np.random.default_rng(1)
    )


def squad(*entries: tuple[str, list[dict[str, object]]]) -> str:
    """Return the document of a context and answers each."""
    paragraphs = [
        {"context": text, "qas": [{"id": str(at), "question": "which fox ?", "answers": answers}]}
        for at, (text, answers) in enumerate(entries)
    ]
    return json.dumps({"version": "v2.0", "data": [{"paragraphs": paragraphs}]})


def lesson_in(kind: str, *targets: Any) -> ClassificationObjective:
    names = [str(at) for at in range(len(targets))]
    texts = [{"text": "a"}] * len(targets)
    return ClassificationObjective(
        Examples(
            kind=kind, ids=names, places=names, inputs=texts, targets=targets, labels=("a", "b")
        )
    )
