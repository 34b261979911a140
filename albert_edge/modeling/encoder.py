"""The middle stage: one transformer layer, applied again and again."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.modeling.variables import activation, dense, layer_norm

__all__ = ["MASKED", "AlbertLayer"]

# Added to the attention scores of padding.  exp(-10000) is 0 in float32 and the value fits float16.
MASKED = -10000.0


class AlbertLayer(tf_keras.layers.Layer):
    """A post-norm transformer layer (Vaswani et al. 2017, arXiv:1706.03762, sec. 3)."""

    def __init__(self, path: str, config: AlbertConfig) -> None:
        super().__init__(name=path.rsplit("/", 1)[-1])
        width, inner = config.hidden_size, config.intermediate_size
        self.config = config
        self.query = dense(f"{path}/attention/query", width, width, config)
        self.key = dense(f"{path}/attention/key", width, width, config)
        self.value = dense(f"{path}/attention/value", width, width, config)
        self.attention_output = dense(f"{path}/attention/output", width, width, config)
        self.attention_norm = layer_norm(f"{path}/attention/layer_norm", width, config)
        self.intermediate = dense(f"{path}/ffn/intermediate", width, inner, config)
        self.ffn_output = dense(f"{path}/ffn/output", inner, width, config)
        self.ffn_norm = layer_norm(f"{path}/ffn/layer_norm", width, config)
        self.attention_dropout = tf_keras.layers.Dropout(config.attention_probs_dropout_prob)
        self.hidden_dropout = tf_keras.layers.Dropout(config.hidden_dropout_prob)

    def call(self, hidden_states: Any, attention_bias: Any, training: bool = False) -> Any:
        """Apply the layer once.

        Args:
            hidden_states: float32 [B, T, H].
            attention_bias: float32 [B, 1, 1, T], 0 for tokens and `MASKED` for padding.
            training: Whether to drop out.

        Returns:
            float32 [B, T, H].
        """
        context = self._attend(hidden_states, attention_bias, training)
        attended = self.hidden_dropout(self.attention_output(context), training=training)
        hidden_states = self.attention_norm(hidden_states + attended)
        inner = activation(self.config.hidden_act, self.intermediate(hidden_states))  # [B, T, 4H]
        outer = self.hidden_dropout(self.ffn_output(inner), training=training)  # [B, T, H]
        return self.ffn_norm(hidden_states + outer)

    def _attend(self, hidden_states: Any, attention_bias: Any, training: bool) -> Any:
        query = self._heads(self.query(hidden_states))  # [B, N, T, D]
        key = self._heads(self.key(hidden_states))
        value = self._heads(self.value(hidden_states))
        scores = tf.matmul(query, key, transpose_b=True) * self.config.head_size**-0.5
        scores += tf.cast(attention_bias, scores.dtype)  # [B, N, T, T]
        weights = self.attention_dropout(tf.nn.softmax(scores), training=training)
        context = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])  # [B, T, N, D]
        return tf.reshape(context, tf.shape(hidden_states))  # [B, T, H]

    def _heads(self, values: Any) -> Any:
        heads, size = self.config.num_attention_heads, self.config.head_size
        shape = tf.shape(values)
        values = tf.reshape(values, [shape[0], shape[1], heads, size])  # [B, T, N, D]
        return tf.transpose(values, [0, 2, 1, 3])  # [B, N, T, D]
