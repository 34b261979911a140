"""The integers that weights are stored as, while the weights are still trained."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.modeling.albert import AlbertLayer
from albert_edge.modeling.layers import activation
from albert_edge.quantization.gptq import TABLE_BLOCK, block_size
from albert_edge.quantization.recipes import Recipe
from albert_edge.training.compression.int8_weights import channel_axis
from albert_edge.training.compression.tfmot import quantizers

__all__ = ["FakeQuantGroup", "FakeQuantizer", "MovingRange", "fake_quantizer_of"]

_BITS = {"int8": 8, "int4": 4}
# How the parts of a recipe are called where they differ from the ends of canonical names.
_STAGES = {"embeddings": "embed", "encoder": "layer"}
_FUSED = re.compile(r"attention_(query|key|value)$")
_QUANTIZER = quantizers.MovingAverageQuantizer(
    num_bits=8, per_axis=False, symmetric=False, narrow_range=False
)
_SHARES = 255 / 256  # the largest share of attention: the softmax's steps are fixed


class FakeQuantizer:
    """The values that a weight can have in a file, which follow from its largest ones.

    Args:
        bits: Of a number.
        block: How many neighbours in a row of the file share a scale; None for all of them.
        axis: Along which axis the neighbours lie; None if the whole weight has one scale.
    """

    def __init__(self, bits: int, block: int | None, axis: int | None) -> None:
        self._most = 2 ** (bits - 1) - 1
        self._block, self._axis = block, axis
        self._quantizer = quantizers.LastValueQuantizer(
            num_bits=bits, per_axis=axis is not None, symmetric=True, narrow_range=True
        )

    def round(self, weight: Any) -> Any:
        """Return a matrix on the grid; the gradient goes straight through."""
        if self._axis is None:
            return self._fake(weight, None)
        columns = weight if self._axis == 0 else tf.transpose(weight)  # [inputs, outputs]
        shape = tf.shape(columns)
        size = self._block or shape[0]
        blocks = tf.reshape(columns, [-1, size, shape[1]])  # [blocks, size, outputs]
        flat = tf.reshape(tf.transpose(blocks, [1, 0, 2]), [size, -1])
        rounded = tf.reshape(self._fake(flat, 0), [size, -1, shape[1]])
        columns = tf.reshape(tf.transpose(rounded, [1, 0, 2]), shape)
        return columns if self._axis == 0 else tf.transpose(columns)

    def _fake(self, numbers: Any, axis: int | None) -> Any:
        scales = tf.reduce_max(tf.abs(numbers), axis=axis) / self._most
        if self._block:  # the file holds the scales of blocks as float16, the kernels as bfloat16
            scales = tf.cast(tf.cast(tf.maximum(scales, 2.0**-17), tf.bfloat16), tf.float32)
        scales = tf.where(scales > 0, scales, 1.0)
        # Not its own last values: it would find them, but not round them.
        bounds = {"min_var": -self._most * scales, "max_var": self._most * scales}
        return self._quantizer(numbers, training=False, weights=bounds)


def fake_quantizer_of(name: str, shape: tuple[int, ...], recipe: Recipe) -> FakeQuantizer | None:
    """Return the grid of the weight of this canonical name in a recipe; None if it stays float."""
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
    """Name the part of a recipe that a canonical name is of."""
    stage, *rest = name.removesuffix("/kernel").split("/")
    if stage == "encoder":
        rest = rest[2:]  # without group and layer
    part = f"{_STAGES.get(stage, 'head')}.{'_'.join(rest) if stage in _STAGES else stage}"
    return _FUSED.sub("attention_query_key_value", part)


# The shared layer as an integer-only file computes it, with tensorflow-model-optimization.
#
# Jacob et al. 2018, arXiv:1712.05877: values are rounded as integers would be, and gradients go
# straight through. There every layer has ranges of its own; here the one layer has one set of
# them, which has to fit all passes. tfmot moves a range at every call, which would make it the
# mean of all passes', so we move it once a step, by the extremes of all passes, and leave the
# rounding to tfmot.
#
# The weights are taken to be on their grid already: they are rounded once a step, not once a pass.


class MovingRange:
    """What 8 bits of one value reach from and to.

    Args:
        start: float32 [2, C], the least and the greatest value; C is 1, or the value's channels.

    Attributes:
        bounds: The same, a variable.
    """

    def __init__(self, start: np.ndarray) -> None:
        self.bounds = tf.Variable(start, trainable=False)
        self._seen: list[Any] = []

    def round(self, values: Any, real: Any, *, watch: bool) -> Any:
        """Return values as 8 bits stand for them.

        Args:
            values: float32 [..., C].
            real: 1 for what stands for tokens, 0 for padding; broadcasts.
            watch: Whether to remember the extremes for `move`.
        """
        if watch:
            kept = tf.stop_gradient(values * real)
            axes = list(range(len(values.shape) - (self._channels > 1)))
            self._seen.append([tf.reduce_min(kept, axes), tf.reduce_max(kept, axes)])
        low, high = tf.unstack(self.bounds)  # [C]
        # Channels that end in a sum are divided by their sizes, and multiplied behind the product.
        sizes = tf.maximum(tf.maximum(-low, high), 1e-30) if self._channels > 1 else tf.ones([1])
        bounds = {"min_var": tf.reduce_min(low / sizes), "max_var": tf.reduce_max(high / sizes)}
        return _QUANTIZER(values / sizes, training=False, weights=bounds) * sizes

    def move(self, share: Any) -> None:
        """Go a share of the way to the extremes of all that was seen since the last time."""
        lows, highs = zip(*self._seen, strict=True)
        self._seen.clear()
        extremes = [tf.reduce_min(tf.stack(lows), 0), tf.reduce_max(tf.stack(highs), 0)]
        around_zero = [tf.minimum(extremes[0], 0.0), tf.maximum(extremes[1], 0.0)]
        seen = tf.reshape(tf.stack(around_zero), [2, self._channels])
        self.bounds.assign_add(share * (seen - self.bounds))

    @property
    def _channels(self) -> int:
        return int(self.bounds.shape[1])


class FakeQuantGroup(tf_keras.layers.Layer):
    """A hidden group whose products read and give 8-bit values; without dropout.

    Args:
        path: Its canonical name.
        layers: Its layers, whose weights it uses.
        ranges: Of each value of `checkpoints.activation_ranges`, by canonical name.
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
    """A normalized value, and what the converter multiplies into the next product: `folded_scale`.

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
    """One layer in one pass."""

    def __init__(
        self, layer: AlbertLayer, ranges: Mapping[str, MovingRange], bias: Any, *, watch: bool
    ) -> None:
        self._layer, self._ranges, self._bias, self._watch = layer, ranges, bias, watch
        self._pairs = tf.cast(tf.equal(bias, 0.0), tf.float32)  # [B, 1, 1, T]
        self._tokens = self._pairs[:, 0, 0, :, None]  # [B, T, 1]
        self._pairs *= self._tokens[:, None]  # [B, 1, T, T]

    def run(self, value: _Scaled) -> _Scaled:
        layer = self._layer
        context = self._attend(value)
        attended = self._round("attention/output", layer.attention_output(context))
        value = _normalize(layer.attention_norm, value.whole + attended)
        inner = self._multiply(
            "ffn/input", value, layer.intermediate.kernel, layer.intermediate.bias
        )
        kind = layer.config.hidden_act
        if kind != "relu":  # that is part of the product
            inner = self._round("ffn/intermediate", inner)
        inner = self._round("ffn/activation", activation(kind, inner))
        outer = self._round("ffn/output", layer.ffn_output(inner))
        return _normalize(layer.ffn_norm, value.whole + outer)

    def _attend(self, value: _Scaled) -> Any:
        layer, config = self._layer, self._layer.config
        heads, size = config.num_attention_heads, config.head_size
        parts = ((layer.query, size**-0.5), (layer.key, 1.0), (layer.value, 1.0))
        kernel = tf.concat([part.kernel * scale for part, scale in parts], axis=1)  # [H, 3H]
        bias = tf.concat([part.bias * scale for part, scale in parts], axis=0)
        fused = self._round(
            "attention/query_key_value", self._multiply("attention/input", value, kernel, bias)
        )
        shape = tf.shape(fused)
        fused = tf.reshape(fused, [shape[0], shape[1], 3 * heads, size])
        query, key, values = tf.split(tf.transpose(fused, [0, 2, 1, 3]), 3, axis=1)  # [B, N, T, D]
        scores = tf.matmul(query, key, transpose_b=True)  # [B, N, T, T]
        scores = self._ranges["attention/scores"].round(scores, self._pairs, watch=self._watch)
        shares = tf.nn.softmax(scores + self._bias)
        shares = tf.quantization.fake_quant_with_min_max_args(shares, min=0.0, max=_SHARES)
        context = tf.transpose(tf.matmul(shares, values), [0, 2, 1, 3])  # [B, T, N, D]
        context = tf.reshape(context, [shape[0], shape[1], heads * size])
        return self._round("attention/context", context)

    def _multiply(self, name: str, value: _Scaled, kernel: Any, bias: Any) -> Any:
        bare = self._round(name, value.bare)
        bias = bias + tf.linalg.matvec(kernel, value.beta, transpose_a=True)
        return tf.tensordot(bare, value.gamma[:, None] * kernel, 1) + bias

    def _round(self, name: str, values: Any) -> Any:
        return self._ranges[name].round(values, self._tokens, watch=self._watch)


def _normalize(norm: Any, values: Any) -> _Scaled:
    mean, variance = tf.nn.moments(values, [-1], keepdims=True)
    bare = (values - mean) * tf.math.rsqrt(variance + norm.epsilon)
    return _Scaled(bare, norm.gamma, norm.beta)
