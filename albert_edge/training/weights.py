"""How much an example counts, by its label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from albert_edge.errors import TrainingError

__all__ = ["class_weights", "refuse_weights"]


def class_weights(setting: str, counts: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Return the weight of each label: float64 [C]; over all examples their mean is 1.

    Args:
        setting: `balanced`, `none`, or such as `a=1,b=2`.
        counts: How many examples have each label, [C].
        labels: Their names.

    Raises:
        TrainingError: The setting is none of these, or names no label.

    Example:
        >>> class_weights("balanced", np.array([30, 10]), ("a", "b")).round(2).tolist()
        [0.67, 2.0]
    """
    if setting == "none":
        return np.ones(len(labels))
    if setting == "balanced":
        weights = 1 / np.maximum(counts, 1)
    else:
        given = _parse(setting)
        if unknown := [name for name in given if name not in labels]:
            raise TrainingError(
                f"class_weights names {', '.join(unknown)}; the labels are {', '.join(labels)}."
            )
        weights = np.array([given.get(label, 1.0) for label in labels])
    balanced: np.ndarray = weights * counts.sum() / (weights * counts).sum()
    return balanced


def refuse_weights(setting: str | None, kind: str) -> None:
    """Refuse class weights for examples that have no classes.

    Raises:
        TrainingError: There are some.
    """
    if setting not in (None, "none"):
        raise TrainingError(f"class_weights are for labels, and {kind} has none.")


def _parse(setting: str) -> dict[str, float]:
    weights = {}
    for part in setting.split(","):
        name, _, text = part.rpartition("=")
        try:
            weights[name.strip()] = float(text)
        except ValueError:
            weights[name.strip()] = math.nan
    if not all(name and 0 < weight < math.inf for name, weight in weights.items()):
        raise TrainingError(
            f"class_weights must be balanced, none, or such as a=1,b=2 with numbers above 0, not "
            f"{setting!r}."
        )
    return weights
