"""LAMB, and AdamW as its special case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

__all__ = ["Lamb"]

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-6  # Lan et al. 2020's, as Google's code has them
_UNDECAYED = ("bias", "beta", "gamma")


class Lamb:
    """Steps as large as each variable allows.

    You et al. 2020, arXiv:1904.00962, algorithm 2: Adam's update with decoupled weight decay, times
    the ratio of the variable's norm to the update's.  As in ALBERT's own code, biases and
    normalizations have neither decay nor ratio.

    Args:
        variables: What is trained.
        weight_decay: The share of a weight that is taken off, times the learning rate.
        adapt: Whether to scale updates by the ratio; without it this is AdamW (Loshchilov and
            Hutter 2019, arXiv:1711.05101).

    Attributes:
        step: int64 [], how many updates were made.
        variables: All that has to be kept to go on later.
    """

    def __init__(self, variables: Sequence[Any], *, weight_decay: float, adapt: bool) -> None:
        self._trained = list(variables)
        self._decay, self._adapt = weight_decay, adapt
        self._means = [tf.Variable(tf.zeros_like(one), trainable=False) for one in variables]
        self._squares = [tf.Variable(tf.zeros_like(one), trainable=False) for one in variables]
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def variables(self) -> list[Any]:
        return [self.step, *self._means, *self._squares]

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """Update every variable by its gradient, the same on all replicas.

        Args:
            gradients: float32, a tensor for every variable.
            rate: float32 [], the learning rate.
        """
        replica = tf.distribute.get_replica_context()
        replica.merge_call(self._update_all, args=(list(gradients), rate))

    def _update_all(self, strategy: Any, gradients: Sequence[Any], rate: Any) -> None:
        self.step.assign_add(1)
        update = strategy.extended.update
        for variable, *others in zip(
            self._trained, self._means, self._squares, gradients, strict=True
        ):
            update(variable, self._update, args=(*others, rate, self.step), group=False)

    def _update(
        self, variable: Any, mean: Any, square: Any, gradient: Any, rate: Any, step: Any
    ) -> None:
        done = tf.cast(step, tf.float32)
        mean.assign(_BETA_1 * mean + (1.0 - _BETA_1) * gradient)
        square.assign(_BETA_2 * square + (1.0 - _BETA_2) * gradient * gradient)
        size = tf.sqrt(square / (1.0 - _BETA_2**done)) + _EPSILON
        change = mean / (1.0 - _BETA_1**done) / size
        if variable.name.removesuffix(":0").rsplit("/", 1)[-1] not in _UNDECAYED:
            change += self._decay * variable
            change *= _ratio(variable, change) if self._adapt else 1.0
        variable.assign_sub(rate * change)


def _ratio(variable: Any, update: Any) -> Any:
    own, other = tf.norm(variable), tf.norm(update)
    known = tf.logical_and(own > 0, other > 0)
    return tf.where(known, own / tf.where(known, other, 1.0), 1.0)
