"""A trained model as the teacher of a student of as many passes: its outputs and its layers'.

The outputs are learned as in Hinton et al. 2015, arXiv:1503.02531, at temperature 1, and the hidden
states after each pass as in Jiao et al. 2020, arXiv:1909.10351, eq. 8, of one width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import MASKED, from_checkpoint
from albert_edge.tasks import TASKS

_LEAST = 1e-6  # of the variance of hidden states, so that none is divided by 0


class Teacher:
    """A model that a student with its hidden size and passes learns from.

    Args:
        checkpoint: The model; it computes without dropout.
        share: The share of its outputs in the loss of the student's; the labels have the rest.
        weight: The weight of that loss beside the loss of the hidden states, which has 1.
    """

    def __init__(self, checkpoint: Checkpoint, *, share: float, weight: float) -> None:
        self._model = from_checkpoint(checkpoint)
        self._share, self._weight = share, weight

    def losses(
        self,
        of_labels: Any,
        inputs: Mapping[str, Any],
        passes: Sequence[Any],
        outputs: Mapping[str, Any],
    ) -> tuple[Any, Any]:
        """Return the student's losses on a batch, float32 []; runs inside a `tf.function`.

        Args:
            of_labels: The loss by the labels, float32 [].
            inputs: The batch, as for the model.
            passes: The student's hidden states after each pass, float32 [B, T, H].
            outputs: Its outputs by name, float32.

        Returns:
            That of the outputs, of which the labels' and the teacher's are the parts; and the loss
            to train on: this one, weighted, and that of the hidden states, which is their mean
            squared difference over the teacher's variance.
        """
        mask = tf.cast(inputs["attention_mask"], tf.float32)  # [B, T]
        own = self._model.passes(inputs)
        # With `training` for the exits; the configuration has no dropout.
        theirs = self._model.outputs_of(own, training=self._model.config.early_exit)
        taught = [
            self._of_output(name, student[name], tf.stop_gradient(values), mask)
            for student, teacher in zip(self._heads(outputs), self._heads(theirs), strict=True)
            for name, values in teacher.items()
        ]
        of_passes = [
            _mean(_relative(tf.cast(student, tf.float32), tf.stop_gradient(one)), mask)
            for student, one in zip(passes, own, strict=True)
        ]
        of_outputs = (1 - self._share) * of_labels + self._share * tf.add_n(taught) / len(taught)
        return of_outputs, self._weight * of_outputs + tf.add_n(of_passes) / len(of_passes)

    def _heads(self, outputs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the outputs by name: of each pass with early exits, or else of the last."""
        if "exit_logits" not in outputs:
            return [outputs]
        names = TASKS[self._model.task].name_logits
        return [names(logits) for logits in tf.unstack(outputs["exit_logits"], axis=1)]

    def _of_output(self, name: str, own: Any, expected: Any, mask: Any) -> Any:
        task, kind = self._model.task, self._model.config.kind
        if name in ("start_logits", "end_logits"):  # probabilities of the tokens
            bias = (1.0 - mask) * MASKED
            return tf.reduce_mean(_cross_entropy(own + bias, expected + bias))
        if task == "classification" and kind == "regression":
            return tf.reduce_mean((own - expected) ** 2)
        if name == "sentence_logits" or (task == "classification" and kind == "multi-label"):
            losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.sigmoid(expected), own)
        else:
            losses = _cross_entropy(own, expected)
        return _mean(losses, mask) if name in TASKS[task].per_token else tf.reduce_mean(losses)


def _cross_entropy(own: Any, expected: Any) -> Any:
    return tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(expected), own)


def _relative(own: Any, expected: Any) -> Any:
    """Return the squared difference of hidden states over their variance, float32 [B, T]."""
    variance = tf.math.reduce_variance(expected, axis=-1)
    return tf.reduce_mean((own - expected) ** 2, axis=-1) / (variance + _LEAST)


def _mean(values: Any, mask: Any) -> Any:
    """Return the mean over the tokens of values, float32 [B, T]."""
    return tf.reduce_sum(values * mask) / tf.reduce_sum(mask)
