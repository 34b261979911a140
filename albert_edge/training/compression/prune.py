"""Magnitude pruning of the shared matrices, with tensorflow-model-optimization.

Zhu and Gupta 2017, arXiv:1710.01878: a growing share of the smallest weights is set to zero while
the others are trained on.  All passes use one kernel, and so one mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.modeling import Albert, canonical_name
from albert_edge.training.compression.int8_weights import channel_axis, is_compressible
from albert_edge.training.compression.methods import Prune
from albert_edge.training.compression.tfmot import pruning_impl, pruning_schedule
from albert_edge.training.trainer import Constraint, name_weights

_UPDATES = 20  # of the masks, over the first half of the training; then they are fixed
_BLOCK = 4


class Pruned(Constraint):
    """Matrices that are zero where a mask is.

    Args:
        model: The model in training.
        steps: The number of steps of the training.
        step: The variable that counts the steps.
        method: The sparsity and its pattern.
    """

    def __init__(self, model: Albert, steps: int, step: Any, *, method: Prune) -> None:
        self.trained = model.trainable_variables
        kernels = {canonical_name(v): v for v in self.trained if is_compressible(canonical_name(v))}
        self._masks = {
            name: tf.Variable(tf.ones_like(kernel), trainable=False)
            for name, kernel in kernels.items()
        }
        self.untrained = list(self._masks.values())
        self._prunings = [
            pruning_impl.Pruning(
                training_step_fn=lambda: step,
                # tfmot writes the threshold of the weights into the last variable.
                pruning_vars=[(kernel, self._masks[name], tf.Variable(0.0, trainable=False))],
                pruning_schedule=_schedule(steps, method.sparsity),
                block_size=_block(name) if method.pattern == "block" else (1, 1),
                block_pooling_type="AVG",
                sparsity_m_by_n=(2, 4) if method.pattern == "2:4" else None,
            )
            for name, kernel in kernels.items()
        ]

    def map_gradients(self, gradients: Sequence[Any]) -> Sequence[Any]:
        return gradients

    def project(self) -> None:
        for pruning in self._prunings:
            pruning.conditional_mask_update()
            pruning.weight_mask_op()

    def tensors(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        # An average includes values from before a weight was pruned.
        return {
            name: values * self._masks[name].numpy() if name in self._masks else values
            for name, values in name_weights(self.trained, averages).items()
        }


def _block(name: str) -> tuple[int, int]:
    """Return the shape of a block, which lies along the rows of the .tflite's matrices."""
    return (1, _BLOCK) if channel_axis(name) is None else (_BLOCK, 1)  # kernels are transposed


def _schedule(steps: int, sparsity: float) -> Any:
    """Schedule the updates of the masks; the last one reaches the whole `sparsity`."""
    updates = min(_UPDATES, max(steps // 2, 1))
    frequency = max(steps // 2 // updates, 1)
    return pruning_schedule.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=frequency * updates,
        frequency=frequency,
    )
