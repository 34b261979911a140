"""The last stage: hidden states become the answer to a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConfigError
from albert_edge.modeling.layers import activation, dense, layer_norm

__all__ = [
    "ClassificationHead",
    "FeatureHead",
    "FillMaskHead",
    "PretrainingHead",
    "QuestionAnsweringHead",
    "SentenceOrderHead",
    "SummarizationHead",
    "TokenClassificationHead",
    "make_head",
]


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
    """One label for the whole sequence, from the pooled first hidden state.

    With `early_exit` every pass but the last has a classifier of its own behind the same pooler
    (Zhou et al. 2020, arXiv:2006.04152): they are stored as one product beside an ordinary head.
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="classification")
        self.pooler = dense("pooler", config.hidden_size, config.hidden_size, config)
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.classifier = dense("classifier", config.hidden_size, config.num_labels, config)
        early = (config.num_hidden_layers - 1) * config.num_labels
        self.early: Any = None
        if config.early_exit:
            self.early = dense("exits", config.hidden_size, early, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `logits` [B, num_labels]."""
        pooled = tf.tanh(self.pooler(hidden_states[:, 0]))  # [B, H]
        return {"logits": self.classifier(self.dropout(pooled, training=training))}

    def exits(self, firsts: Any, training: bool = False) -> Any:
        """Map every pass's first hidden state, float32 [B, L, H], to its logits [B, L, C]."""
        pooled = self.dropout(tf.tanh(self.pooler(firsts)), training=training)  # [B, L, H]
        width, count = self.classifier.kernel.shape
        # Under mixed precision a variable is what the layers around it compute with.
        kernels = tf.cast(tf.reshape(self.early.kernel, [width, -1, count]), pooled.dtype)
        early = tf.einsum("blh,hlc->blc", pooled[:, :-1], kernels)  # [B, L-1, C]
        early += tf.cast(tf.reshape(self.early.bias, [-1, count]), pooled.dtype)
        return tf.concat([early, self.classifier(pooled[:, -1:])], axis=1)


class QuestionAnsweringHead(tf_keras.layers.Layer):
    """The start and the end of an answer, scored at every token."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="question_answering")
        self.qa_outputs = dense("qa_outputs", config.hidden_size, 2, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `start_logits` and `end_logits`, both [B, T]."""
        start, end = tf.unstack(self.qa_outputs(hidden_states), axis=-1)
        return {"start_logits": start, "end_logits": end}


class TokenClassificationHead(tf_keras.layers.Layer):
    """One label for every token."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="token_classification")
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.classifier = dense("classifier", config.hidden_size, config.num_labels, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `logits` [B, T, num_labels]."""
        return {"logits": self.classifier(self.dropout(hidden_states, training=training))}


class SummarizationHead(tf_keras.layers.Layer):
    """How well a sentence sums up its text, scored at every token; its score is their mean.

    BERTSUM's classifier (Liu 2019, arXiv:1903.10318, sec. 2.2) on the mean of a sentence's states,
    which is the same as the mean of their logits, instead of on the state of one token: that one
    would have to learn first to gather its sentence, and not its neighbours.
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="summarization")
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.scorer = dense("sentence_scorer", config.hidden_size, 1, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `sentence_logits` [B, T]."""
        scores = self.scorer(self.dropout(hidden_states, training=training))  # [B, T, 1]
        return {"sentence_logits": tf.squeeze(scores, axis=-1)}


class FillMaskHead(tf_keras.layers.Layer):
    """The token at every place, as pre-training predicts those that are masked.

    The product with the vocabulary is with `table`, the word embeddings themselves (Lan et al.
    2020, arXiv:1909.11942, sec. 3.1): only a bias is added.
    """

    def __init__(self, config: AlbertConfig, table: Any) -> None:
        super().__init__(name="predictions")
        self.config = config
        self.table = table
        self.dense = dense("predictions/dense", config.hidden_size, config.embedding_size, config)
        self.norm = layer_norm("predictions/layer_norm", config.embedding_size, config)
        with tf.name_scope("predictions/"):
            self.bias = self.add_weight("bias", (config.vocab_size,), initializer="zeros")

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `logits` [B, T, V]."""
        vectors = activation(self.config.hidden_act, self.dense(hidden_states))  # [B, T, E]
        scores = tf.matmul(self.norm(vectors), self.table, transpose_b=True)  # [B, T, V]
        return {"logits": scores + self.bias}


class SentenceOrderHead(tf_keras.layers.Layer):
    """Whether two segments stand in their order (0) or swapped (1).

    Lan et al. 2020, arXiv:1909.11942, sec. 3.1, "Inter-sentence coherence loss".
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="sentence_order")
        self.pooler = dense("pooler", config.hidden_size, config.hidden_size, config)
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.classifier = dense("sop_classifier", config.hidden_size, 2, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `sop_logits` [B, 2]."""
        pooled = tf.tanh(self.pooler(hidden_states[:, 0]))  # [B, H]
        return {"sop_logits": self.classifier(self.dropout(pooled, training=training))}


class PretrainingHead(tf_keras.layers.Layer):
    """Both of what ALBERT is pre-trained to tell."""

    def __init__(self, config: AlbertConfig, table: Any) -> None:
        super().__init__(name="pretraining")
        self.predictions = FillMaskHead(config, table)
        self.order = SentenceOrderHead(config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map float32 [B, T, H] to `prediction_logits` [B, T, V] and `sop_logits` [B, 2]."""
        predicted = self.predictions(hidden_states, training=training)
        order = self.order(hidden_states, training=training)
        return {"prediction_logits": predicted["logits"], **order}


def make_head(task: str, config: AlbertConfig, *, table: Any, pooler: bool = True) -> Any:
    """Build the head of `task`.

    Args:
        task: One of `tasks.TASKS`.
        config: The shape.
        table: The variable of the word embeddings, float32 [V, E], which predicts words too.
        pooler: As in `Albert`.

    Raises:
        ConfigError: There is no such task.
    """
    heads: dict[str, Callable[[], Any]] = {
        "feature-extraction": lambda: FeatureHead(config, pooler=pooler),
        "classification": lambda: ClassificationHead(config),
        "token-classification": lambda: TokenClassificationHead(config),
        "question-answering": lambda: QuestionAnsweringHead(config),
        "summarization": lambda: SummarizationHead(config),
        "fill-mask": lambda: FillMaskHead(config, table),
        "sentence-order": lambda: SentenceOrderHead(config),
        "pretraining": lambda: PretrainingHead(config, table),
    }
    if task not in heads:
        raise ConfigError(f"unknown task {task!r}; choose from {', '.join(heads)}.")
    if config.early_exit and task != "classification":
        raise ConfigError(f"early_exit is for the task classification, not for {task}.")
    return heads[task]()
