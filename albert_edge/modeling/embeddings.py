"""The first stage: ids become vectors of the encoder's width."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.modeling.variables import dense, layer_norm

__all__ = ["AlbertEmbeddings"]


class AlbertEmbeddings(tf_keras.layers.Layer):
    """Factorized embeddings: three tables of width E, normalized, then projected to H.

    Lan et al. 2020, arXiv:1909.11942, sec. 3.1, "Factorized embedding parameterization".
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="embeddings")
        self.word = self._table("word_embeddings", config.vocab_size, config)
        self.position = self._table("position_embeddings", config.max_position_embeddings, config)
        self.token_type = self._table("token_type_embeddings", config.type_vocab_size, config)
        self.norm = layer_norm("embeddings/layer_norm", config.embedding_size, config)
        self.dropout = tf_keras.layers.Dropout(config.hidden_dropout_prob)
        self.projection = dense(
            "embeddings/projection", config.embedding_size, config.hidden_size, config
        )

    def _table(self, name: str, rows: int, config: AlbertConfig) -> Any:
        initializer = tf_keras.initializers.TruncatedNormal(stddev=config.initializer_range)
        with tf.name_scope("embeddings/"):
            return self.add_weight(name, (rows, config.embedding_size), initializer=initializer)

    def call(self, input_ids: Any, token_type_ids: Any, training: bool = False) -> Any:
        """Embed tokens.

        Args:
            input_ids: int32 [B, T], in [0, V).
            token_type_ids: int32 [B, T], in [0, type_vocab_size).
            training: Whether to drop out.

        Returns:
            float32 [B, T, H].
        """
        vectors = tf.gather(self.word, input_ids)  # [B, T, E]
        vectors += tf.gather(self.token_type, token_type_ids)
        vectors += self.position[: tf.shape(input_ids)[1]]
        vectors = self.dropout(self.norm(vectors), training=training)
        return self.projection(vectors)  # [B, T, H]
