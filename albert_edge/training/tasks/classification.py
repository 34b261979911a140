"""Train text classifiers: one label per text or pair of texts, several labels, or numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import tensorflow as tf

from albert_edge.datasets.examples import Examples
from albert_edge.errors import TrainingError, list_choices
from albert_edge.tokenizer import Tokenizer
from albert_edge.training.batching import concat_mixup, sample_pairs, token_dropout
from albert_edge.training.objective import (
    EncodedEpoch,
    TaskObjective,
    check_tokens,
    class_weights,
    divergence,
    reject_class_weights,
)
from albert_edge.training.options import FinetuneOptions

__all__ = ["ClassificationObjective"]

_SUM_TOLERANCE = 0.01  # of probabilities that were rounded to a few digits


@final
class ClassificationObjective(TaskObjective):
    """Train on texts, or pairs of texts, with labels or numbers.

    The targets are, in this order of precedence, the given ones, the teacher's probabilities in the
    examples, or the examples' labels.

    Args:
        examples: Of a kind in `tasks.PROBLEM_TYPES`.
        targets: float32 [n, num_labels], soft targets: probabilities, which sum to 1 where a text
            has one label.
    """

    task = "classification"

    def __init__(self, examples: Examples, targets: np.ndarray | None = None) -> None:
        self.examples = examples
        self.kind = examples.kind
        self._hard = _targets(examples)  # [n, num_labels]
        if targets is None:
            targets = _teacher_targets(examples) if examples.teacher else self._hard
        self.targets = targets

    def check(self, options: FinetuneOptions) -> None:
        labels = self.examples.labels
        if self.examples.kind == "regression":
            reject_class_weights(options.class_weights, "regression")
            same = np.ptp(self._hard, axis=0) == 0
            if same.any():
                raise TrainingError("all examples have the same number; regression needs several.")
        else:
            counts = self._hard.sum(axis=0)
            if missing := [label for label, n in zip(labels, counts, strict=True) if not n]:
                raise TrainingError(
                    f"no example has label {', '.join(missing)}; every class needs some."
                )
            class_weights(self._setting(options), counts, labels)
        if options.joining and not self._joinable():
            raise TrainingError("joining is for single texts with one label each.")

    def encode_epoch(
        self, tokenizer: Tokenizer, options: FinetuneOptions, random: np.random.Generator
    ) -> EncodedEpoch:
        texts = [inputs["text"] for inputs in self.examples.inputs]
        pairs = [i["pair"] for i in self.examples.inputs] if self._paired() else None
        ids, types, cut = sample_pairs(texts, pairs, tokenizer, options=options, random=random)
        for one, place in zip(ids, self.examples.places, strict=True):
            check_tokens(one, tokenizer, place)
        ids = [
            token_dropout(one, tokenizer, share=options.word_dropout, random=random) for one in ids
        ]
        targets = self.targets
        if self._joinable():
            ids, targets = concat_mixup(
                ids, targets, share=options.joining, max_length=options.max_length, random=random
            )
        return EncodedEpoch(input_ids=ids, token_type_ids=types, targets=targets, truncated=cut)

    def pass_loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        logits = outputs["logits"]
        if self.examples.kind == "regression":
            return tf.reduce_mean((logits - targets) ** 2)
        labels = self.examples.labels
        weights = class_weights(self._setting(options), self._hard.sum(axis=0), labels)
        weights = tf.constant(weights, tf.float32)
        if self.examples.kind == "multi-label":
            return tf.reduce_mean(
                weights * tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
            )
        smoothing = options.label_smoothing
        soft = targets * (1 - smoothing) + smoothing / len(labels)
        losses = tf.nn.softmax_cross_entropy_with_logits(soft, logits)  # [B]
        return tf.reduce_mean(losses * tf.linalg.matvec(targets, weights))

    def imitation(
        self,
        outputs: Mapping[str, Any],
        taught: Mapping[str, Any],
        targets: Any,
        mask: Any,
        temperature: float,
    ) -> Any:
        logits, wanted = outputs["logits"], taught["logits"]
        if self.examples.kind == "regression":
            return tf.reduce_mean((logits - wanted) ** 2)
        independent = self.examples.kind == "multi-label"
        return tf.reduce_mean(divergence(logits, wanted, temperature, independent=independent))

    def accuracy(self, outputs: Mapping[str, Any], targets: Any, mask: Any) -> Any:
        logits = outputs["logits"]
        if self.examples.kind == "regression":
            return tf.constant(np.nan)
        if self.examples.kind == "multi-label":
            same = tf.reduce_all(tf.equal(logits >= 0, targets >= 0.5), axis=-1)
        else:
            same = tf.equal(tf.argmax(logits, axis=-1), tf.argmax(targets, axis=-1))
        return tf.reduce_mean(tf.cast(same, tf.float32))

    def _setting(self, options: FinetuneOptions) -> str:
        single = self.examples.kind == "classification"
        return options.class_weights or ("balanced" if single else "none")

    def _paired(self) -> bool:
        return "pair" in self.examples.inputs[0]

    def _joinable(self) -> bool:
        return self.examples.kind == "classification" and not self._paired()


def _targets(examples: Examples) -> np.ndarray:
    if examples.kind == "regression":
        return np.array(examples.targets, np.float32)  # [n, num_labels]
    numbers = {label: index for index, label in enumerate(examples.labels)}
    hard = np.zeros((len(examples), len(numbers)), np.float32)
    for row, target in enumerate(examples.targets):
        for label in [target] if examples.kind == "classification" else target:
            hard[row, numbers[label]] = 1
    return hard


def _teacher_targets(examples: Examples) -> np.ndarray:
    """Return the probabilities in the teacher's column as targets, float32 [n, num_labels].

    Hinton et al. 2015, arXiv:1503.02531.  A value is a list of the labels' probabilities in their
    order, or an object of them by label; in a table without types it is JSON.

    Raises:
        TrainingError: A value is invalid, or the targets are numbers.
    """
    if examples.kind == "regression":
        raise TrainingError("a teacher's column has probabilities, and regression has none.")
    single = examples.kind == "classification"
    rows = [
        _probabilities(value, examples.labels, single, place)
        for value, place in zip(examples.teacher, examples.places, strict=True)
    ]
    targets = np.array(rows, np.float32)  # [n, num_labels]
    if single:
        targets /= targets.sum(axis=1, keepdims=True)
    return targets


def _probabilities(value: Any, labels: tuple[str, ...], single: bool, place: str) -> list[float]:
    try:
        given = json.loads(value) if isinstance(value, str) else value
        found = [given[label] for label in labels] if isinstance(given, Mapping) else list(given)
        probabilities = [float(each) for each in found]
    except (ValueError, TypeError, KeyError):
        probabilities = []
    valid = len(probabilities) == len(labels) and all(0 <= each <= 1 for each in probabilities)
    if not valid or (single and not math.isclose(sum(probabilities), 1, abs_tol=_SUM_TOLERANCE)):
        total = " with a sum of 1" if single else ""
        raise TrainingError(
            f"{place}: expected {len(labels)} probabilities{total}, of {list_choices(labels)}, as "
            f"a JSON list or by label; got {str(value)[:60]!r}."
        )
    return probabilities
