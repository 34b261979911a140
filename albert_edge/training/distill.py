"""A model's own answers as the targets of its training."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.tables import read_table
from albert_edge.errors import TrainingError
from albert_edge.modeling import from_checkpoint
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batching import BUCKETS, encode_texts, make_batches
from albert_edge.training.data import LabelledTexts
from albert_edge.training.tasks.classification import ClassificationObjective

__all__ = ["KerasClassifier", "add_teacher_targets", "distill"]

_SUM_ERROR = 0.01  # of probabilities that were rounded to a few digits


def distill(teacher: Checkpoint, data: LabelledTexts, *, share: float) -> LabelledTexts:
    """Let what `teacher` says of each text be a share of its target, and its class the rest.

    Hinton et al. 2015, arXiv:1503.02531, at temperature 1.

    Args:
        teacher: A classification checkpoint with the labels of `data`.
        data: Texts and their classes.
        share: In [0, 1].
    """
    classes = np.eye(len(data.labels), dtype=np.float32)[data.classes]
    if share == 0:
        return dataclasses.replace(data, targets=classes)
    answers = KerasClassifier(teacher).shares(data)
    return dataclasses.replace(data, targets=share * answers + (1 - share) * classes)


# What a classifier says of texts.


class KerasClassifier:
    """A classifier that answers many texts at once.

    Args:
        checkpoint: A classification model with its tokenizer.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = from_checkpoint(checkpoint)
        self._tokenizer = tokenizer_from_files(checkpoint.tokenizer_files)
        ids = tf.TensorSpec([None, None], tf.int32)
        self._answer = tf.function(
            lambda ids, mask: self._model({"input_ids": ids, "attention_mask": mask})["logits"],
            input_signature=[ids, ids],
            autograph=False,
        )

    def shares(self, data: LabelledTexts) -> np.ndarray:
        """Return the share of each class in the answer to each text: float32 [n, num_labels].

        Texts are cut where a device cuts them: at the model's number of positions.
        """
        most = min(self._model.config.max_position_embeddings, BUCKETS[-1])
        sequences = encode_texts(data.texts, self._tokenizer, max_length=most)
        shares = np.zeros((len(data), self._model.config.num_labels), np.float32)
        for batch in make_batches(sequences, tokens=8192, pad_id=self._tokenizer.pad_id):
            logits = self._answer(batch.input_ids, batch.attention_mask)
            shares[batch.rows] = tf.nn.softmax(logits).numpy()
        return shares


# What another model said of the texts, from a column of their table.


def add_teacher_targets(
    lesson: ClassificationObjective, path: Path, column: str
) -> ClassificationObjective:
    """Let a lesson's targets be the probabilities that a column of its table holds.

    Hinton et al. 2015, arXiv:1503.02531.  A value is a list of the labels' probabilities in their
    order, or an object of them by label; in a table without types it is JSON.

    Raises:
        InputError: There is no such column.
        TrainingError: A value is none, or the lesson is one in numbers.
    """
    if lesson.kind == "regression":
        raise TrainingError("a teacher's column has probabilities, and regression has none.")
    one = lesson.kind == "classification"
    rows = [
        _probabilities(row.values["teacher"], lesson.labels, one, f"{path}, line {row.line}")
        for row in read_table(path, {"teacher": [column]})
    ]
    targets = np.array(rows, np.float32)  # [n, num_labels]
    if one:
        targets /= targets.sum(axis=1, keepdims=True)
    return ClassificationObjective(lesson.examples, targets)


def _probabilities(value: Any, labels: tuple[str, ...], one: bool, place: str) -> list[float]:
    try:
        given = json.loads(value) if isinstance(value, str) else value
        found = [given[label] for label in labels] if isinstance(given, Mapping) else list(given)
        chances = [float(each) for each in found]
    except (ValueError, TypeError, KeyError):
        chances = []
    valid = len(chances) == len(labels) and all(0 <= each <= 1 for each in chances)
    if not valid or (one and not math.isclose(sum(chances), 1, abs_tol=_SUM_ERROR)):
        total = " with a sum of 1" if one else ""
        raise TrainingError(
            f"{place}: expected {len(labels)} probabilities{total}, of {', '.join(labels)}, as a "
            f"JSON list or by label; got {str(value)[:60]!r}."
        )
    return chances
