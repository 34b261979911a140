"""What another model said of the texts, from a column of their table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.errors import TrainingError
from albert_edge.tables import read_table
from albert_edge.training.tasks.classification import Classification

__all__ = ["with_teacher"]

_SUM_ERROR = 0.01  # of probabilities that were rounded to a few digits


def with_teacher(lesson: Classification, path: Path, column: str) -> Classification:
    """Let a lesson's targets be the probabilities that a column of its table holds.

    Hinton et al. 2015, arXiv:1503.02531.  A value is a list of the labels' probabilities in their
    order, or an object of them by label; in a table without types it is JSON.

    Raises:
        InputError: There is no such column.
        TrainingError: A value is none, or the lesson is one in numbers.
    """
    if lesson.problem == "regression":
        raise TrainingError("a teacher's column has probabilities, and regression has none.")
    one = lesson.problem == "single_label_classification"
    rows = [
        _probabilities(row.values["teacher"], lesson.labels, one, f"{path}, line {row.line}")
        for row in read_table(path, {"teacher": [column]})
    ]
    targets = np.array(rows, np.float32)  # [n, num_labels]
    if one:
        targets /= targets.sum(axis=1, keepdims=True)
    return Classification(lesson.examples, targets)


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
