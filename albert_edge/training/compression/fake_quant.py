"""Fake quantization in training: of weights, and of the activations of an integer-only layer.

Jacob et al. 2018, arXiv:1712.05877: values are rounded as their integers would be, and gradients
pass straight through.  There every layer has ranges of its own; here the one layer has one set of
ranges, which has to fit all passes.  tfmot moves a range at every call, which would make it the
mean over the passes; here it moves once a step, by the extremes over all passes, and tfmot only
rounds.

The layer's weights are already rounded when it runs: once a step, not once a pass.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.modeling import AlbertLayer, activation
from albert_edge.quantization.gptq import TABLE_BLOCK, block_size
from albert_edge.quantization.recipes import Recipe
from albert_edge.training.compression.int8_weights import channel_axis
from albert_edge.training.compression.tfmot import quantizers

_BITS = {"int8": 8, "int4": 4}
# The names of stages in a recipe, by the beginning of canonical names.
_STAGES = {"embeddings": "embed", "encoder": "layer"}
_FUSED = re.compile(r"attention_(query|key|value)$")
_QUANTIZER = quantizers.MovingAverageQuantizer(
    num_bits=8, per_axis=False, symmetric=False, narrow_range=False
)
_SOFTMAX_MAX = 255 / 256  # the largest value of TFLite's int8 softmax, whose scale is fixed


class FakeQuantizer:
    """Rounds a weight to the values of its integers in a file; the scales fit its largest values.

    Args:
        bits: The bits of an integer.
        block: The number of neighbours in a row of the file that share a scale; None for all.
        axis: The axis of the neighbours; None if the whole weight has one scale.
    """

    def __init__(self, bits: int, block: int | None, axis: int | None) -> None:
        self._qmax = 2 ** (bits - 1) - 1
        self._block, self._axis = block, axis
        self._quantizer = quantizers.LastValueQuantizer(
            num_bits=bits, per_axis=axis is not None, symmetric=True, narrow_range=True
        )

    def round(self, weight: Any) -> Any:
        """Return a matrix with rounded values; the gradient passes straight through."""
        if self._axis is None:
            return self._fake_quantize(weight, None)
        columns = weight if self._axis == 0 else tf.transpose(weight)  # [inputs, outputs]
        shape = tf.shape(columns)
        size = self._block or shape[0]
        blocks = tf.reshape(columns, [-1, size, shape[1]])  # [blocks, size, outputs]
        flat = tf.reshape(tf.transpose(blocks, [1, 0, 2]), [size, -1])
        rounded = tf.reshape(self._fake_quantize(flat, 0), [size, -1, shape[1]])
        columns = tf.reshape(tf.transpose(rounded, [1, 0, 2]), shape)
        return columns if self._axis == 0 else tf.transpose(columns)

    def _fake_quantize(self, values: Any, axis: int | None) -> Any:
        scales = tf.reduce_max(tf.abs(values), axis=axis) / self._qmax
        if self._block:  # scales of blocks are float16 in the file, bfloat16 in the kernels
            scales = tf.cast(tf.cast(tf.maximum(scales, 2.0**-17), tf.bfloat16), tf.float32)
        scales = tf.where(scales > 0, scales, 1.0)
        # The quantizer's own bounds would be the largest values, without the rounded scales.
        bounds = {"min_var": -self._qmax * scales, "max_var": self._qmax * scales}
        return self._quantizer(values, training=False, weights=bounds)


def fake_quantizer_of(name: str, shape: tuple[int, ...], recipe: Recipe) -> FakeQuantizer | None:
    """Return the quantizer of the weight of this canonical name; None if it stays float."""
    if not name.endswith(("/kernel", "_embeddings")):
        return None
    kind = recipe.weight_dtype(_part_of(name), math.prod(shape))
    axis = channel_axis(name)
    if kind not in _BITS:
        return None
    if kind == "int8":
        return FakeQuantizer(8, None, axis)
    if axis is None:
        return FakeQuantizer(4, block_size(shape[1], wanted=TABLE_BLOCK), 1)
    return FakeQuantizer(4, block_size(shape[0], wanted=recipe.block), axis)


def _part_of(name: str) -> str:
    """Return the part of a recipe that a weight belongs to, by its canonical name."""
    stage, *rest = name.removesuffix("/kernel").split("/")
    if stage == "encoder":
        rest = rest[2:]  # without group and layer
    part = f"{_STAGES.get(stage, 'head')}.{'_'.join(rest) if stage in _STAGES else stage}"
    return _FUSED.sub("attention_query_key_value", part)


class MovingRange:
    """The range of one 8-bit activation.

    Args:
        start: float32 [2, C], the initial minimum and maximum; C is 1, or the number of channels.

    Attributes:
        bounds: float32 variable [2, C], the current ones.
    """

    def __init__(self, start: np.ndarray) -> None:
        self.bounds = tf.Variable(start, trainable=False)
        self._extremes: list[Any] = []

    def round(self, values: Any, real: Any, *, watch: bool) -> Any:
        """Return the values of the 8-bit integers.

        Args:
            values: float32 [..., C].
            real: float32, 1 for tokens, 0 for padding; broadcasts.
            watch: Whether to record the extremes for `move`.
        """
        if watch:
            kept = tf.stop_gradient(values * real)
            axes = list(range(len(values.shape) - (self._channels > 1)))
            self._extremes.append([tf.reduce_min(kept, axes), tf.reduce_max(kept, axes)])
        low, high = tf.unstack(self.bounds)  # [C]
        # Values with ranges by channel are divided by their sizes, and multiplied again afterwards.
        sizes = tf.maximum(tf.maximum(-low, high), 1e-30) if self._channels > 1 else tf.ones([1])
        bounds = {"min_var": tf.reduce_min(low / sizes), "max_var": tf.reduce_max(high / sizes)}
        return _QUANTIZER(values / sizes, training=False, weights=bounds) * sizes

    def move(self, rate: Any) -> None:
        """Move the range by a fraction of its distance to the extremes since the last move."""
        lows, highs = zip(*self._extremes, strict=True)
        self._extremes.clear()
        extremes = [tf.reduce_min(tf.stack(lows), 0), tf.reduce_max(tf.stack(highs), 0)]
        around_zero = [tf.minimum(extremes[0], 0.0), tf.maximum(extremes[1], 0.0)]
        found = tf.reshape(tf.stack(around_zero), [2, self._channels])
        self.bounds.assign_add(rate * (found - self.bounds))

    @property
    def _channels(self) -> int:
        return int(self.bounds.shape[1])


class FakeQuantGroup(tf_keras.layers.Layer):
    """A hidden group whose matrix products have 8-bit inputs and outputs; without dropout.

    Args:
        path: The group's canonical name.
        layers: The group's layers, whose weights are used.
        ranges: The ranges of `checkpoints.activation_ranges`, by canonical name.
    """

    def __init__(
        self, path: str, layers: Sequence[AlbertLayer], ranges: Mapping[str, MovingRange]
    ) -> None:
        super().__init__(name=path.rsplit("/", 1)[-1])
        self.layers = list(layers)
        self._paths = [f"{path}/layer_{index}/" for index in range(len(layers))]
        self._ranges = ranges

    def call(self, hidden_states: Any, attention_bias: Any, training: bool = False) -> Any:
        """Make one pass; shapes as in `AlbertLayer`."""
        ones, zeros = tf.ones(hidden_states.shape[-1:]), tf.zeros(hidden_states.shape[-1:])
        value = _Scaled(hidden_states, ones, zeros)
        for layer, path in zip(self.layers, self._paths, strict=True):
            ranges = {
                name.removeprefix(path): entry
                for name, entry in self._ranges.items()
                if name.startswith(path)
            }
            value = _Pass(layer, ranges, attention_bias, watch=training).run(value)
        return value.whole


class _Scaled(NamedTuple):
    """A normalized value, and the factors that the converter folds into the next product.

    Attributes:
        bare: float32 [B, T, H].
        gamma, beta: float32 [H].
    """

    bare: Any
    gamma: Any
    beta: Any

    @property
    def whole(self) -> Any:
        return self.bare * self.gamma + self.beta


class _Pass:
    """The computation of one layer in one pass."""

    def __init__(
        self, layer: AlbertLayer, ranges: Mapping[str, MovingRange], bias: Any, *, watch: bool
    ) -> None:
        self._layer, self._ranges, self._bias, self._watch = layer, ranges, bias, watch
        self._pairs = tf.cast(tf.equal(bias, 0.0), tf.float32)  # [B, 1, 1, T]
        self._tokens = self._pairs[:, 0, 0, :, None]  # [B, T, 1]
        self._pairs *= self._tokens[:, None]  # [B, 1, T, T]

    def run(self, value: _Scaled) -> _Scaled:
        layer = self._layer
        context = self._attention(value)
        attended = self._round("attention/output", layer.attention_output(context))
        value = _normalize(layer.attention_norm, value.whole + attended)
        inner = self._product(
            "ffn/input", value, layer.intermediate.kernel, layer.intermediate.bias
        )
        kind = layer.config.hidden_act
        if kind != "relu":  # ReLU is fused into the product
            inner = self._round("ffn/intermediate", inner)
        inner = self._round("ffn/activation", activation(kind, inner))
        outer = self._round("ffn/output", layer.ffn_output(inner))
        return _normalize(layer.ffn_norm, value.whole + outer)

    def _attention(self, value: _Scaled) -> Any:
        layer, config = self._layer, self._layer.config
        heads, size = config.num_attention_heads, config.head_size
        parts = ((layer.query, size**-0.5), (layer.key, 1.0), (layer.value, 1.0))
        kernel = tf.concat([part.kernel * scale for part, scale in parts], axis=1)  # [H, 3H]
        bias = tf.concat([part.bias * scale for part, scale in parts], axis=0)
        fused = self._round(
            "attention/query_key_value", self._product("attention/input", value, kernel, bias)
        )
        shape = tf.shape(fused)
        fused = tf.reshape(fused, [shape[0], shape[1], 3 * heads, size])
        query, key, values = tf.split(tf.transpose(fused, [0, 2, 1, 3]), 3, axis=1)  # [B, N, T, D]
        scores = tf.matmul(query, key, transpose_b=True)  # [B, N, T, T]
        scores = self._ranges["attention/scores"].round(scores, self._pairs, watch=self._watch)
        weights = tf.nn.softmax(scores + self._bias)
        weights = tf.quantization.fake_quant_with_min_max_args(weights, min=0.0, max=_SOFTMAX_MAX)
        context = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])  # [B, T, N, D]
        context = tf.reshape(context, [shape[0], shape[1], heads * size])
        return self._round("attention/context", context)

    def _product(self, name: str, value: _Scaled, kernel: Any, bias: Any) -> Any:
        bare = self._round(name, value.bare)
        bias = bias + tf.linalg.matvec(kernel, value.beta, transpose_a=True)
        return tf.tensordot(bare, value.gamma[:, None] * kernel, 1) + bias

    def _round(self, name: str, values: Any) -> Any:
        return self._ranges[name].round(values, self._tokens, watch=self._watch)


def _normalize(norm: Any, values: Any) -> _Scaled:
    mean, variance = tf.nn.moments(values, [-1], keepdims=True)
    bare = (values - mean) * tf.math.rsqrt(variance + norm.epsilon)
    return _Scaled(bare, norm.gamma, norm.beta)
