"""The heads: each computes the outputs of one task from the last hidden states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConfigError
from albert_edge.modeling.layers import activation, dense, layer_norm
from albert_edge.tasks import TASKS


def make_pooler(config: AlbertConfig) -> Any:
    """Build the dense layer, with `config.pooler_act`, that reads the first hidden state."""
    return dense("pooler", config.hidden_size, config.hidden_size, config, act=config.pooler_act)


def compute_exits(early: Any, last: Any, states: Any) -> Any:
    """Return the logits of every pass, [B, L, ..., K], for the states before them.

    Args:
        early: The heads of all passes but the last, one dense layer of (L-1)·K outputs.
        last: The last pass's, of K outputs.
        states: float32 [B, L, ..., H].
    """
    width, count = last.kernel.shape
    # With mixed precision the layers compute in another type than that of the variables.
    kernels = tf.cast(tf.reshape(early.kernel, [width, -1, count]), states.dtype)
    biases = tf.reshape(early.bias, [-1, *[1] * (states.shape.rank - 3), count])
    logits = tf.einsum("bl...h,hlc->bl...c", states[:, :-1], kernels)  # [B, L-1, ..., K]
    return tf.concat([logits + tf.cast(biases, states.dtype), last(states[:, -1:])], axis=1)


def make_exits(config: AlbertConfig, width: int) -> Any:
    """Build the heads of all passes but the last, of `width` outputs each; None without."""
    early = (config.num_hidden_layers - 1) * width
    return dense("exits", config.hidden_size, early, config) if config.early_exit else None


class FeatureHead(tf_keras.layers.Layer):
    """The outputs of the encoder: all hidden states and, with a pooler, the pooled first one."""

    def __init__(self, config: AlbertConfig, *, pooler: bool = True) -> None:
        super().__init__(name="features")
        self.pooler = make_pooler(config) if pooler else None

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Return `last_hidden_state` [B, T, H] and `pooler_output` [B, H] for float32 [B, T, H]."""
        if self.pooler is None:
            return {"last_hidden_state": hidden_states}
        pooled = self.pooler(hidden_states[:, 0])
        return {"last_hidden_state": hidden_states, "pooler_output": pooled}


class ClassificationHead(tf_keras.layers.Layer):
    """Sequence classification from the pooled first hidden state.

    With `early_exit` every pass has its own classifier after the shared pooler (Zhou et al. 2020,
    arXiv:2006.04152).  Those of all passes but the last are stored as one dense layer, `exits`, as
    are those of the other heads that support it.
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="classification")
        self.pooler = make_pooler(config)
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.classifier = dense("classifier", config.hidden_size, config.num_labels, config)
        self.early = make_exits(config, config.num_labels)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Return `logits` [B, num_labels] for float32 [B, T, H]."""
        pooled = self.pooler(hidden_states[:, 0])  # [B, H]
        return {"logits": self.classifier(self.dropout(pooled, training=training))}

    def exits(self, hidden_states: Sequence[Any], training: bool = False) -> Any:
        """Return logits [B, L, C] for the hidden states of every pass, float32 [B, T, H]."""
        firsts = tf.stack([states[:, 0] for states in hidden_states], axis=1)  # [B, L, H]
        pooled = self.dropout(self.pooler(firsts), training=training)
        return compute_exits(self.early, self.classifier, pooled)


class QuestionAnsweringHead(tf_keras.layers.Layer):
    """Scores of every token as the start and as the end of an answer."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="question_answering")
        self.qa_outputs = dense("qa_outputs", config.hidden_size, 2, config)
        self.early = make_exits(config, 2)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Return `start_logits` and `end_logits`, both [B, T], for float32 [B, T, H]."""
        start, end = tf.unstack(self.qa_outputs(hidden_states), axis=-1)
        return {"start_logits": start, "end_logits": end}

    def exits(self, hidden_states: Sequence[Any], training: bool = False) -> Any:
        """Return logits [B, L, T, 2] for the hidden states of every pass, float32 [B, T, H]."""
        return compute_exits(self.early, self.qa_outputs, tf.stack(hidden_states, axis=1))


class TokenClassificationHead(tf_keras.layers.Layer):
    """Token classification: one label for every token."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="token_classification")
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.classifier = dense("classifier", config.hidden_size, config.num_labels, config)
        self.early = make_exits(config, config.num_labels)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Return `logits` [B, T, num_labels] for float32 [B, T, H]."""
        return {"logits": self.classifier(self.dropout(hidden_states, training=training))}

    def exits(self, hidden_states: Sequence[Any], training: bool = False) -> Any:
        """Return logits [B, L, T, C] for the hidden states of every pass, float32 [B, T, H]."""
        states = self.dropout(tf.stack(hidden_states, axis=1), training=training)
        return compute_exits(self.early, self.classifier, states)


class SummarizationHead(tf_keras.layers.Layer):
    """Extractive summarization: a score for every token, whose mean is the score of its sentence.

    The classifier is BERTSUM's (Liu 2019, arXiv:1903.10318, sec. 2.2), but applied to the mean of a
    sentence's states, which equals the mean of its tokens' logits, instead of to the state of one
    token, which would have to be trained to represent its sentence.
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="summarization")
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.scorer = dense("sentence_scorer", config.hidden_size, 1, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Return `sentence_logits` [B, T] for float32 [B, T, H]."""
        scores = self.scorer(self.dropout(hidden_states, training=training))  # [B, T, 1]
        return {"sentence_logits": tf.squeeze(scores, axis=-1)}


class FillMaskHead(tf_keras.layers.Layer):
    """Masked language modeling: scores of all tokens of the vocabulary at every position.

    The weights of the product with the vocabulary are the word embeddings `table` (Lan et al. 2020,
    arXiv:1909.11942, sec. 3.1); only a bias is added.
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
        """Return `logits` [B, T, V] for float32 [B, T, H]."""
        vectors = activation(self.config.hidden_act, self.dense(hidden_states))  # [B, T, E]
        scores = tf.matmul(self.norm(vectors), self.table, transpose_b=True)  # [B, T, V]
        return {"logits": scores + self.bias}


class SentenceOrderHead(tf_keras.layers.Layer):
    """Sentence-order prediction: whether two segments are in order (0) or swapped (1).

    Lan et al. 2020, arXiv:1909.11942, sec. 3.1, "Inter-sentence coherence loss".
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="sentence_order")
        self.pooler = make_pooler(config)
        self.dropout = tf_keras.layers.Dropout(config.classifier_dropout_prob)
        self.classifier = dense("sop_classifier", config.hidden_size, 2, config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Return `sop_logits` [B, 2] for float32 [B, T, H]."""
        pooled = self.pooler(hidden_states[:, 0])  # [B, H]
        return {"sop_logits": self.classifier(self.dropout(pooled, training=training))}


class PretrainingHead(tf_keras.layers.Layer):
    """The two heads of pre-training: masked language modeling and sentence order."""

    def __init__(self, config: AlbertConfig, table: Any) -> None:
        super().__init__(name="pretraining")
        self.predictions = FillMaskHead(config, table)
        self.order = SentenceOrderHead(config)

    def call(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Return `prediction_logits` [B, T, V] and `sop_logits` [B, 2] for float32 [B, T, H]."""
        predicted = self.predictions(hidden_states, training=training)
        order = self.order(hidden_states, training=training)
        return {"prediction_logits": predicted["logits"], **order}


# (config, word embeddings, whether there is a pooler) → head.
HEADS: dict[str, Callable[[AlbertConfig, Any, bool], Any]] = {
    "feature-extraction": lambda config, _, pooler: FeatureHead(config, pooler=pooler),
    "classification": lambda config, *_: ClassificationHead(config),
    "token-classification": lambda config, *_: TokenClassificationHead(config),
    "question-answering": lambda config, *_: QuestionAnsweringHead(config),
    "summarization": lambda config, *_: SummarizationHead(config),
    "fill-mask": lambda config, table, _: FillMaskHead(config, table),
    "sentence-order": lambda config, *_: SentenceOrderHead(config),
    "pretraining": lambda config, table, _: PretrainingHead(config, table),
}


def make_head(task: str, config: AlbertConfig, *, table: Any, pooler: bool = True) -> Any:
    """Make the head of `task`.

    Args:
        task: One of `tasks.TASKS`.
        config: The configuration.
        table: The variable of the word embeddings, float32 [V, E].
        pooler: As in `Albert`.

    Raises:
        ConfigError: There is no such task.
    """
    if task not in HEADS:
        raise ConfigError(f"unknown task {task!r}; choose from {', '.join(HEADS)}.")
    if config.early_exit and not TASKS[task].can_exit_early:
        able = ", ".join(name for name, one in TASKS.items() if one.can_exit_early)
        raise ConfigError(f"early_exit is for {able}, not for {task}.")
    return HEADS[task](config, table, pooler)
