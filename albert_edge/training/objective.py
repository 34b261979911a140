"""What a model is to learn: the part of training that is another one for every task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from albert_edge.datasets.examples import Examples
from albert_edge.errors import TrainingError
from albert_edge.tokenizer import Tokenizer
from albert_edge.training.options import FinetuneOptions

__all__ = ["IGNORE_INDEX", "EncodedEpoch", "TaskObjective", "class_weights", "reject_class_weights"]

IGNORE_INDEX = -1.0  # the target of a token that the loss does not look at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedEpoch:
    """One epoch's examples, as a model takes them.

    Attributes:
        input_ids: m sequences of T token ids, in [0, V).
        token_type_ids: For each as many numbers, 0 or 1; None if all are 0.
        targets: m rows float32 [K] for the loss: K is one number for all, or T.
        per_token: Whether K is T; then a batch's rows are filled up with `IGNORE_INDEX`.
        truncated: How many of the examples were longer than a model may see, and so cut.
    """

    input_ids: Sequence[Sequence[int]]
    targets: Sequence[np.ndarray] | np.ndarray
    token_type_ids: Sequence[Sequence[int]] | None = None
    per_token: bool = False
    truncated: int = 0


class TaskObjective(ABC):
    """The examples of one task, how they are shown to a model, and what its answers cost.

    The figures on a dev set need nothing of this: they are those of `albert_edge.evaluation`.

    Attributes:
        task: One of `tasks.TASKS`.
        kind: The kind of classification, a key of `tasks.PROBLEM_TYPES`, else None.
        examples: What there is to learn.
    """

    task: str
    kind: str | None = None
    examples: Examples

    @abstractmethod
    def check(self, options: FinetuneOptions) -> None:
        """Check that there is something to learn, and that the options go with it.

        Raises:
            TrainingError: There is not, or they do not.
        """

    @abstractmethod
    def draw(
        self, tokenizer: Tokenizer, options: FinetuneOptions, random: np.random.Generator
    ) -> EncodedEpoch:
        """Encode all examples for one epoch; `random` draws what is to differ between epochs."""

    @abstractmethod
    def loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        """Return the loss of a batch, float32 []; runs inside a `tf.function`.

        Args:
            outputs: What the model says, by name, in training.
            targets: float32 [B, K], rows of `EncodedEpoch.targets`.
            mask: int32 [B, T], 1 for tokens, 0 for padding.
            options: How to train.
        """

    @abstractmethod
    def right(self, outputs: Mapping[str, Any], targets: Any, mask: Any) -> Any:
        """Return the share of right answers in a batch, float32 []; NaN if none is right or wrong.

        Arguments as in `loss`.
        """

    @property
    @final
    def labels(self) -> tuple[str, ...]:
        """The labels that there are; none for tasks without."""
        return self.examples.labels

    @final
    def __len__(self) -> int:
        return len(self.examples)


# How much an example counts, by its label.


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


def reject_class_weights(setting: str | None, kind: str) -> None:
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
