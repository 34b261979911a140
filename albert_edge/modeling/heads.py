"""The last stage: hidden states become the answer to a task."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConfigError
from albert_edge.modeling.variables import dense

__all__ = ["ClassificationHead", "FeatureHead", "QuestionAnsweringHead", "make_head"]


class FeatureHead(tf_keras.layers.Layer):
    """The encoder's own outputs: every hidden state and, with a pooler, the pooled first one."""

    def __init__(self, config: AlbertConfig, *, pooler: bool = True) -> None:
        super().__init__(name="features")
        width = config.hidden_size
        self.pooler = dense("pooler", width, width, config) if pooler else None

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `last_hidden_state` [B, T, H], `pooler_output` [B, H]."""
        if self.pooler is None:
            return {"last_hidden_state": hidden_states}
        pooled = tf.tanh(self.pooler(hidden_states[:, 0]))
        return {"last_hidden_state": hidden_states, "pooler_output": pooled}


class ClassificationHead(tf_keras.layers.Layer):
    """One label for the whole sequence, from the pooled first hidden state."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="classification")
        self.pooler = dense("pooler", config.hidden_size, config.hidden_size, config)
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.classifier = dense("classifier", config.hidden_size, config.num_labels, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `logits` [B, num_labels]."""
        pooled = tf.tanh(self.pooler(hidden_states[:, 0]))  # [B, H]
        return {"logits": self.classifier(self.dropout(pooled, training=training))}


class QuestionAnsweringHead(tf_keras.layers.Layer):
    """The start and the end of an answer, scored at every token."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="question_answering")
        self.qa_outputs = dense("qa_outputs", config.hidden_size, 2, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `start_logits` and `end_logits`, both [B, T]."""
        start, end = tf.unstack(self.qa_outputs(hidden_states), axis=-1)
        return {"start_logits": start, "end_logits": end}


_HEADS = {
    "feature-extraction": FeatureHead,
    "classification": ClassificationHead,
    "question-answering": QuestionAnsweringHead,
}


def make_head(task: str, config: AlbertConfig, *, pooler: bool = True) -> Any:
    """Build the head of `task`, one of `config.TASKS`; `pooler` is as in `Albert`.

    Raises:
        ConfigError: There is no such task.
    """
    if task not in _HEADS:
        raise ConfigError(f"unknown task {task!r}; choose from {', '.join(_HEADS)}.")
    if task == "feature-extraction":
        return FeatureHead(config, pooler=pooler)
    return _HEADS[task](config)
