"""The shared layer as an integer-only file computes it, with tensorflow-model-optimization.

Jacob et al. 2018, arXiv:1712.05877: values are rounded as integers would be, and gradients go
straight through.  There every layer has ranges of its own; here the one layer has one set of them,
which has to fit all passes.  tfmot moves a range at every call, which would make it the mean of all
passes', so we move it once a step, by the extremes of all passes, and leave the rounding to tfmot.

The weights are taken to be on their grid already: they are rounded once a step, not once a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.compression.tfmot import quantizers
from albert_edge.modeling.encoder import AlbertLayer
from albert_edge.modeling.variables import activation

__all__ = ["IntegerGroup", "Range"]

_QUANTIZER = quantizers.MovingAverageQuantizer(
    num_bits=8, per_axis=False, symmetric=False, narrow_range=False
)
_SHARES = 255 / 256  # the largest share of attention: the softmax's steps are fixed


class Range:
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


class IntegerGroup(tf_keras.layers.Layer):
    """A hidden group whose products read and give 8-bit values; without dropout.

    Args:
        path: Its canonical name.
        layers: Its layers, whose weights it uses.
        ranges: Of each value of `checkpoints.ranges`, by canonical name.
    """

    def __init__(
        self, path: str, layers: Sequence[AlbertLayer], ranges: Mapping[str, Range]
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
        self, layer: AlbertLayer, ranges: Mapping[str, Range], bias: Any, *, watch: bool
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
