"""Quantization-aware training of the shared layer, with tensorflow-model-optimization.

Jacob et al. 2018, arXiv:1712.05877.  The optimizer updates weights in full precision; the model
computes with the values of their integers, and for an integer-only file also rounds the inputs and
outputs of every matrix product.  All passes use one kernel, and so one set of ranges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import Albert, canonical_name, from_checkpoint
from albert_edge.quantization.calibration import TensorStats, calibration_rows, collect_stats
from albert_edge.quantization.equalize import equalize, equalizing_factors, name_activations
from albert_edge.quantization.recipes import get_recipe
from albert_edge.tflite.export import export_stages
from albert_edge.training.compression.fake_quant import (
    FakeQuantGroup,
    MovingRange,
    fake_quantizer_of,
)
from albert_edge.training.compression.int8_weights import folded_scale
from albert_edge.training.compression.methods import Qat
from albert_edge.training.trainer import Constraint, name_weights

_MOVING = 0.5  # the share of the steps in which ranges move; the weights then adapt to fixed ones
_MOVE_RATE = 0.01  # of a range in a step: it follows about the last hundred steps


class Quantized(Constraint):
    """Weights that have the values of their integers, in a model that rounds as its file does.

    Args:
        model: The model in training.  For an integer-only recipe its layers are replaced.
        steps: The number of steps of the training.
        step: The variable that counts the steps.
        method: The recipe.
        start: The initial ranges, by the names of `checkpoints.activation_ranges`.
    """

    def __init__(
        self, model: Albert, steps: int, step: Any, *, method: Qat, start: Mapping[str, np.ndarray]
    ) -> None:
        self._recipe = get_recipe(method.quantize)
        self._step, self._last = step, int(steps * _MOVING)
        self._ranges = {name: MovingRange(bounds) for name, bounds in start.items()}
        if self._ranges:
            model.groups = [
                [FakeQuantGroup(f"encoder/group_{index}", layers, self._ranges)]
                for index, layers in enumerate(model.groups)
            ]
        # After the layers were replaced, which changes the order of the variables.
        self._weights = {canonical_name(weight): weight for weight in model.trainable_variables}
        quantizers = {
            name: fake_quantizer_of(name, tuple(weight.shape), self._recipe)
            for name, weight in self._weights.items()
        }
        self._quantizers = {name: one for name, one in quantizers.items() if one}
        self._latent = {
            name: tf.Variable(self._weights[name], name=name) for name in self._quantizers
        }
        self.trained = list({**self._weights, **self._latent}.values())
        self.ranges = {name: entry.bounds for name, entry in self._ranges.items()}
        self.untrained = list(self.ranges.values())
        self._round_weights()

    def map_gradients(self, gradients: Sequence[Any]) -> Sequence[Any]:
        return gradients  # straight through

    def project(self) -> None:
        self._round_weights()
        rate = tf.where(self._step <= self._last, _MOVE_RATE, 0.0)
        for entry in self._ranges.values():
            entry.move(rate)

    def tensors(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        values = dict(zip(self._weights, averages, strict=True))
        rounded = self._rounded(values)
        return name_weights(self.trained, [rounded.get(name, values[name]) for name in values])

    def _round_weights(self) -> None:
        for name, values in self._rounded({**self._weights, **self._latent}).items():
            self._weights[name].assign(values)

    def _rounded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._round(name, values) for name in self._quantizers}

    def _round(self, name: str, values: Mapping[str, Any]) -> Any:
        """Return a weight as its integers represent it, which the converter makes after folding."""
        folded = folded_scale(name)
        scale = values[folded][:, None] if folded else 1.0
        return tf.math.divide_no_nan(self._quantizers[name].round(values[name] * scale), scale)


def calibrate(
    start: Checkpoint, texts: Iterable[str], *, method: Qat
) -> tuple[Checkpoint, dict[str, np.ndarray]]:
    """Calibrate the model that training starts from, and the ranges of its 8-bit activations.

    The model of an integer-only recipe is equalized as in `convert`, so that one range fits
    queries, keys and values; its outputs do not change.

    Args:
        start: A model with its tokenizer.
        texts: Calibration texts.
        method: The recipe.

    Returns:
        The model; and float32 [2, C], the minimum and the maximum, by the names of
        `checkpoints.activation_ranges`; none for a recipe that computes with floats.

    Raises:
        InputError: The texts are too few.
    """
    if not get_recipe(method.quantize).calibrated:
        return start, {}
    stages = export_stages(from_checkpoint(start))
    rows = calibration_rows(texts, start.config, start.tokenizer_files)
    stats = collect_stats(stages, start.config, rows)
    tensors, ranges = dict(start.tensors), {}
    for layer in stages.layers:
        _, equalized = equalize(layer, stats[layer.name])
        for name, tensor in name_activations(layer).items():
            ranges[name] = _bounds(equalized[tensor], by_channel=name.endswith("/output"))
            if name.endswith("/attention/query_key_value"):
                _equalize(tensors, name.removesuffix("/query_key_value"), stats[layer.name][tensor])
    return dataclasses.replace(start, tensors=tensors), ranges


def _equalize(tensors: dict[str, np.ndarray], path: str, fused: TensorStats) -> None:
    factors = equalizing_factors((fused.low.min(axis=0), fused.high.max(axis=0)))
    for name, scale in zip(("query", "key", "value"), np.split(factors, 3), strict=True):
        for part in (f"{path}/{name}/kernel", f"{path}/{name}/bias"):
            tensors[part] = tensors[part] * scale
    tensors[f"{path}/output/kernel"] = tensors[f"{path}/output/kernel"] / scale[:, None]


def _bounds(stats: TensorStats, *, by_channel: bool) -> np.ndarray:
    axis = 0 if by_channel else None
    low, high = np.atleast_1d(stats.low.min(axis=axis)), np.atleast_1d(stats.high.max(axis=axis))
    return np.stack([np.minimum(low, 0), np.maximum(high, 0)])
