"""Quantization-aware training of the shared layer, with tensorflow-model-optimization.

Jacob et al. 2018, arXiv:1712.05877.  What the optimizer trains are weights of full precision; the
model computes with what their integers stand for, and for an integer-only file also the values
into and out of every product are rounded.  One kernel, and one set of ranges, serve all passes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import Albert, from_checkpoint
from albert_edge.modeling.layers import canonical_name
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

__all__ = ["Quantized", "calibrate"]

_MOVING = 0.5  # the share of the steps in which ranges move; then the weights get used to them
_SHARE = 0.01  # how far a range moves in a step: it follows the last hundred or so


class Quantized(Constraint):
    """Weights that are what their integers stand for, in a model that computes like them.

    Args:
        model: What is trained.  For an integer-only recipe its layers are replaced.
        steps: How long.
        step: The variable that counts the steps.
        method: For which recipe.
        start: The ranges to start from, by the names of `checkpoints.activation_ranges`.
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
        # Not before: the layers' places among the model's have changed.
        self._weights = {canonical_name(weight): weight for weight in model.trainable_variables}
        grids = {
            name: fake_quantizer_of(name, tuple(weight.shape), self._recipe)
            for name, weight in self._weights.items()
        }
        self._grids = {name: grid for name, grid in grids.items() if grid}
        self._free = {name: tf.Variable(self._weights[name], name=name) for name in self._grids}
        self.trained = list({**self._weights, **self._free}.values())
        self.ranges = {name: entry.bounds for name, entry in self._ranges.items()}
        self.memory = list(self.ranges.values())
        self._round_weights()

    def pull_back(self, gradients: Sequence[Any]) -> Sequence[Any]:
        return gradients  # straight through

    def enforce(self) -> None:
        self._round_weights()
        share = tf.where(self._step <= self._last, _SHARE, 0.0)
        for entry in self._ranges.values():
            entry.move(share)

    def weights(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        values = dict(zip(self._weights, averages, strict=True))
        rounded = self._rounded(values)
        return name_weights(self.trained, [rounded.get(name, values[name]) for name in values])

    def _round_weights(self) -> None:
        for name, values in self._rounded({**self._weights, **self._free}).items():
            self._weights[name].assign(values)

    def _rounded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._round(name, values) for name in self._grids}

    def _round(self, name: str, values: Mapping[str, Any]) -> Any:
        """Return a weight on its grid, which is that of the weight as the converter changes it."""
        folded = folded_scale(name)
        scale = values[folded][:, None] if folded else 1.0
        return tf.math.divide_no_nan(self._grids[name].round(values[name] * scale), scale)


def calibrate(
    start: Checkpoint, texts: Iterable[str], *, method: Qat
) -> tuple[Checkpoint, dict[str, np.ndarray]]:
    """Return what training starts from: the model, and ranges of its 8-bit values.

    The model of an integer-only recipe is equalized as `convert` would equalize it, so that one
    range fits queries, keys and values; it computes the same.

    Args:
        start: A model with its tokenizer.
        texts: Texts like those that it will read.
        method: For which recipe.

    Returns:
        The model; and float32 [2, C], the least and the greatest, by the names of
        `checkpoints.activation_ranges`.  Nothing for a recipe that computes with floats.

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


def _bounds(seen: TensorStats, *, by_channel: bool) -> np.ndarray:
    axis = 0 if by_channel else None
    low, high = np.atleast_1d(seen.low.min(axis=axis)), np.atleast_1d(seen.high.max(axis=axis))
    return np.stack([np.minimum(low, 0), np.maximum(high, 0)])
