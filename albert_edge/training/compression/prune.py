"""Magnitude pruning of the shared matrices, with tensorflow-model-optimization.

Zhu and Gupta 2017, arXiv:1710.01878: more and more of the smallest weights become zero while the
others learn to do without them.  One mask serves all passes, since one kernel does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.modeling import Albert
from albert_edge.modeling.layers import canonical_name
from albert_edge.training.compression.int8_weights import channel_axis, is_compressible
from albert_edge.training.compression.methods import Prune
from albert_edge.training.compression.tfmot import pruning_impl, pruning_schedule
from albert_edge.training.trainer import Constraint, name_weights

__all__ = ["Pruned"]

_UPDATES = 20  # of the masks, over the first half of the training; then they stay
_BLOCK = 4


class Pruned(Constraint):
    """Weights that are zero where a mask says so.

    Args:
        model: What is trained.
        steps: How long.
        step: The variable that counts the steps.
        method: How much, and in which pattern.
    """

    def __init__(self, model: Albert, steps: int, step: Any, *, method: Prune) -> None:
        self.trained = model.trainable_variables
        kernels = {canonical_name(v): v for v in self.trained if is_compressible(canonical_name(v))}
        self._masks = {
            name: tf.Variable(tf.ones_like(kernel), trainable=False)
            for name, kernel in kernels.items()
        }
        self.memory = list(self._masks.values())
        self._prunings = [
            pruning_impl.Pruning(
                training_step_fn=lambda: step,
                # The last is where tfmot puts the smallest weight that stays.
                pruning_vars=[(kernel, self._masks[name], tf.Variable(0.0, trainable=False))],
                pruning_schedule=_schedule(steps, method.sparsity),
                block_size=_block(name) if method.pattern == "block" else (1, 1),
                block_pooling_type="AVG",
                sparsity_m_by_n=(2, 4) if method.pattern == "2:4" else None,
            )
            for name, kernel in kernels.items()
        ]

    def pull_back(self, gradients: Sequence[Any]) -> Sequence[Any]:
        return gradients

    def enforce(self) -> None:
        for pruning in self._prunings:
            pruning.conditional_mask_update()
            pruning.weight_mask_op()

    def weights(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        # An average remembers what a weight was before it was pruned.
        return {
            name: values * self._masks[name].numpy() if name in self._masks else values
            for name, values in name_weights(self.trained, averages).items()
        }


def _block(name: str) -> tuple[int, int]:
    """Return the shape of a block, which lies along the rows that the .tflite stores."""
    return (1, _BLOCK) if channel_axis(name) is None else (_BLOCK, 1)  # it transposes kernels


def _schedule(steps: int, sparsity: float) -> Any:
    """Plan the updates of the masks; the last falls on a step and has all of `sparsity`."""
    updates = min(_UPDATES, max(steps // 2, 1))
    frequency = max(steps // 2 // updates, 1)
    return pruning_schedule.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=frequency * updates,
        frequency=frequency,
    )
