"""Task-specific training objectives: encoding of the examples, loss, accuracy, label weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tensorflow as tf

from albert_edge.datasets.examples import Examples
from albert_edge.errors import TrainingError, list_choices
from albert_edge.tasks import TASKS
from albert_edge.tokenizer import Tokenizer
from albert_edge.training.options import FinetuneOptions

__all__ = [
    "IGNORE_INDEX",
    "TAUGHT",
    "EncodedEpoch",
    "TaskObjective",
    "check_tokens",
    "class_weights",
    "divergence",
    "reject_class_weights",
]

TAUGHT = "taught/"  # begins the names of a teacher's outputs
IGNORE_INDEX = -1.0  # the target of a token that the loss ignores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedEpoch:
    """The encoded examples of one epoch.

    Attributes:
        input_ids: m sequences of T token ids, in [0, V).
        token_type_ids: The token types of each, 0 or 1; None if all are 0.
        targets: m rows float32 [K] for the loss: K is the same for all, or T.
        per_token: Whether K is T; then a batch's rows are padded with `IGNORE_INDEX`.
        truncated: The number of examples that were cut, for being too long.
    """

    input_ids: Sequence[Sequence[int]]
    targets: Sequence[np.ndarray] | np.ndarray
    token_type_ids: Sequence[Sequence[int]] | None = None
    per_token: bool = False
    truncated: int = 0


class TaskObjective(ABC):
    """The examples of one task, their encoding, and the loss.

    The metrics on a dev set do not depend on it: they are those of `albert_edge.evaluation`.

    Attributes:
        task: One of `tasks.TASKS`.
        kind: The kind of classification, a key of `tasks.PROBLEM_TYPES`, else None.
        examples: The training examples.
        teacher: The Keras model of a teacher, whose outputs `loss` gets too; None without one.
    """

    task: str
    kind: str | None = None
    examples: Examples
    teacher: Any = None

    @abstractmethod
    def check(self, options: FinetuneOptions) -> None:
        """Check that the examples can be trained on, with these options.

        Raises:
            TrainingError: They cannot.
        """

    @abstractmethod
    def encode_epoch(
        self, tokenizer: Tokenizer, options: FinetuneOptions, random: np.random.Generator
    ) -> EncodedEpoch:
        """Encode all examples for one epoch, with data augmentation drawn from `random`."""

    @final
    def loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        """Return the loss of a batch, float32 []; runs inside a `tf.function`.

        With early exits it is the mean of theirs, with weight j for exit j of L (Zhou et al. 2020,
        arXiv:2006.04152, eq. 6).  Arguments as in `pass_loss`.
        """
        if "exit_logits" not in outputs:
            return self.pass_loss(outputs, targets, mask, options)
        exits = tf.unstack(outputs["exit_logits"], axis=1)  # L times [B, ..., K]
        name = TASKS[self.task].name_logits
        taught = {one: values for one, values in outputs.items() if one.startswith(TAUGHT)}
        losses = [
            weight * self.pass_loss({**taught, **name(logits)}, targets, mask, options)
            for weight, logits in enumerate(exits, 1)
        ]
        return tf.add_n(losses) / sum(range(1, len(exits) + 1))

    @abstractmethod
    def pass_loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        """Return the loss of a batch after one pass, float32 [].

        Args:
            outputs: The outputs after that pass, and those of the teacher, by name, float32.
            targets: float32 [B, K], rows of `EncodedEpoch.targets`.
            mask: int32 [B, T], 1 for tokens, 0 for padding.
            options: The options of the training.
        """

    @abstractmethod
    def imitation(
        self,
        outputs: Mapping[str, Any],
        taught: Mapping[str, Any],
        targets: Any,
        mask: Any,
        temperature: float,
    ) -> Any:
        """Return how far a model's outputs are from a teacher's, float32 []; 0 if they are equal.

        Args:
            outputs, targets, mask: As in `pass_loss`.
            taught: The teacher's outputs, by name, float32.
            temperature: As in `divergence`.
        """

    @final
    def taught(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the teacher's outputs for the model's inputs, by names that begin with `TAUGHT`.

        Without a teacher there are none.
        """
        outputs = {} if self.teacher is None else self.teacher(inputs)
        return {f"{TAUGHT}{name}": values for name, values in outputs.items()}

    @abstractmethod
    def accuracy(self, outputs: Mapping[str, Any], targets: Any, mask: Any) -> Any:
        """Return the accuracy on a batch, float32 [], in [0, 1]; NaN for regression.

        Arguments as in `loss`.
        """

    @property
    @final
    def labels(self) -> tuple[str, ...]:
        """All labels, in order; none for tasks without."""
        return self.examples.labels

    @final
    def __len__(self) -> int:
        return len(self.examples)


def divergence(logits: Any, taught: Any, temperature: float, *, independent: bool = False) -> Any:
    """Return the Kullback-Leibler divergence of a teacher's probabilities from a model's.

    Both are softened: their logits are divided by the temperature, and the result is multiplied by
    its square, so that gradients keep their size (Hinton et al. 2015, arXiv:1503.02531, sec. 2).

    Args:
        logits: The model's logits, float32 [..., C].
        taught: The teacher's, float32 [..., C].
        temperature: Above 0.
        independent: Whether each logit is of a probability of its own.

    Returns:
        float32 [...], or [..., C] of independent probabilities.
    """
    nn = tf.nn
    entropy, normalize = nn.softmax_cross_entropy_with_logits, nn.softmax
    if independent:
        entropy, normalize = nn.sigmoid_cross_entropy_with_logits, nn.sigmoid
    taught, logits = taught / temperature, logits / temperature
    wanted = normalize(taught)
    difference = entropy(labels=wanted, logits=logits) - entropy(labels=wanted, logits=taught)
    return temperature**2 * difference


def check_tokens(ids: Sequence[int], tokenizer: Tokenizer, place: str) -> None:
    """Check that a text, or each of two, has tokens.

    Args:
        ids: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.
        tokenizer: The tokenizer of the texts.
        place: The place of the example.

    Raises:
        TrainingError: There is nothing between two special tokens.
    """
    if tokenizer.sep_id in (ids[1], ids[-2]):
        raise TrainingError(f"{place}: the text is empty: it contains no tokens.")


def class_weights(setting: str, counts: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Return the weight of each label in the loss: float64 [C]; the mean over all examples is 1.

    Args:
        setting: `balanced`, `none`, or weights such as `a=1,b=2`.
        counts: int [C], the number of examples with each label.
        labels: The names of the labels.

    Raises:
        TrainingError: The setting is none of these, or names an unknown label.

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
                f"class_weights names {list_choices(unknown)}; the labels are "
                f"{list_choices(labels, given=unknown[0])}."
            )
        weights = np.array([given.get(label, 1.0) for label in labels])
    balanced: np.ndarray = weights * counts.sum() / (weights * counts).sum()
    return balanced


def reject_class_weights(setting: str | None, kind: str) -> None:
    """Check that there are no class weights, for a kind of examples without labels.

    Raises:
        TrainingError: There are class weights.
    """
    if setting not in (None, "none"):
        raise TrainingError(f"class_weights are for labels, and {kind} has none; leave them out.")


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
            f"class_weights must be balanced, none, or weights above 0 such as a=1,b=2, not "
            f"{setting!r}."
        )
    return weights
