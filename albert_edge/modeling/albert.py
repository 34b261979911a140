"""The Keras ALBERT: embeddings, transformer layers whose weights all passes share, and a head."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import tensorflow as tf
import tf_keras

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.modeling.heads import make_head
from albert_edge.modeling.layers import (
    activation,
    assign,
    check_eager,
    dense,
    keras_settings,
    layer_norm,
)
from albert_edge.tasks import TASKS

# Added to the attention scores of padding.  exp(-10000) is 0 in float32 and the value fits float16.
MASKED = -10000.0


class Albert(tf_keras.Model):
    """An ALBERT with the head of one task.

    Lan et al. 2020, arXiv:1909.11942.  The stages `embed`, `layer` and `head` can be called alone.

    Args:
        config: The configuration.
        task: One of `tasks.TASKS`.
        pooler: Whether `feature-extraction` has a pooler, and thus the output `pooler_output`; some
            encoders were trained without.

    Attributes:
        tokenizer_files: The tokenizer's files by name, as in the checkpoint.
        provenance: The source of the weights, which JSON can represent.
        ranges: The activation ranges learned by quantization-aware training; see `Checkpoint`.

    Example:
        >>> tiny = AlbertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)
        >>> Albert(tiny, task="classification")({"input_ids": [[2, 5, 3]]})["logits"].shape
        TensorShape([1, 2])
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Refuse a graph here: tf_keras would make this class, old models too, one of version 1."""
        check_eager()
        return super().__new__(cls, *args, **kwargs)

    @keras_settings()
    def __init__(
        self, config: AlbertConfig, *, task: str = "feature-extraction", pooler: bool = True
    ) -> None:
        super().__init__(name="albert")
        self.config = config
        self.task = task
        self.tokenizer_files: Mapping[str, bytes] = {}
        self.provenance: Mapping[str, Any] = {}
        self.ranges: Mapping[str, Any] = {}
        self.embeddings = AlbertEmbeddings(config)
        self.groups = [
            [
                AlbertLayer(f"encoder/group_{group}/layer_{index}", config)
                for index in range(config.inner_group_num)
            ]
            for group in range(config.num_hidden_groups)
        ]
        self.task_head = make_head(task, config, table=self.embeddings.word, pooler=pooler)
        self.built = True

    def embed(self, input_ids: Any, token_type_ids: Any, training: bool = False) -> Any:
        """Embed int32 [B, T] ids and types as hidden states, float32 [B, T, H]."""
        return self.embeddings(input_ids, token_type_ids, training=training)

    def layer(self, index: int, hidden_states: Any, bias: Any, training: bool = False) -> Any:
        """Apply pass `index`, in [0, num_hidden_layers), to hidden states, float32 [B, T, H].

        `bias` is float32 [B, 1, 1, T], 0 for tokens and `MASKED` for padding.
        """
        for layer in self.groups[self.config.group_of_layer(index)]:
            hidden_states = layer(hidden_states, bias, training=training)
        return hidden_states

    def head(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Return the task's outputs by name for the last hidden states, float32 [B, T, H]."""
        outputs: dict[str, Any] = self.task_head(hidden_states, training=training)
        return outputs

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Compute the outputs for a batch.

        Args:
            inputs: `input_ids` int32 [B, T], in [0, V); optionally `token_type_ids`, by default 0,
                and `attention_mask`, 1 for tokens and 0 for padding, both int32 [B, T].
            training: Whether to apply dropout.

        Returns:
            The task's outputs by name, float32.  In training with `early_exit` there is also
            `exit_logits`, as in `exits`; the other outputs are the last pass's.
        """
        return self.outputs_of(self.passes(inputs, training), training=training)

    def outputs_of(self, passes: Sequence[Any], training: bool = False) -> dict[str, Any]:
        """Return what `call` does, of the hidden states after all `passes`."""
        if training and self.config.early_exit:
            logits = self.task_head.exits(passes, training=True)
            return {**TASKS[self.task].name_logits(logits[:, -1]), "exit_logits": logits}
        return self.head(passes[-1], training=training)

    def exits(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        """Compute the logits of every pass for a batch, in a model with `early_exit`.

        Args:
            inputs: As for `call`.
            training: Whether to apply dropout.

        Returns:
            Logits, float32, where L is `num_hidden_layers`; the last are those of `call`:
            [B, L, C] of a text, [B, L, T, C] of tokens, and [B, L, T, 2] of starts and ends.
        """
        return self.task_head.exits(self.passes(inputs, training), training=training)

    def passes(self, inputs: Mapping[str, Any], training: bool = False) -> list[Any]:
        """Return the hidden states after each pass, float32 [B, T, H]; inputs as for `call`."""
        input_ids = tf.convert_to_tensor(inputs["input_ids"])
        types = inputs.get("token_type_ids", tf.zeros_like(input_ids))
        mask = inputs.get("attention_mask", tf.ones_like(input_ids))
        bias = (1.0 - tf.cast(mask, tf.float32))[:, None, None, :] * MASKED  # [B, 1, 1, T]
        hidden_states = self.embed(input_ids, types, training=training)
        passes = []
        for index in range(self.config.num_hidden_layers):
            hidden_states = self.layer(index, hidden_states, bias, training=training)
            passes.append(hidden_states)
        return passes


class AlbertEmbeddings(tf_keras.layers.Layer):
    """Factorized embeddings: the sum of three tables of width E, normalized and projected to H.

    Lan et al. 2020, arXiv:1909.11942, sec. 3.1, "Factorized embedding parameterization".
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(name="embeddings")
        self.word = self._table("word_embeddings", config.vocab_size, config)
        self.position = self._table("position_embeddings", config.max_position_embeddings, config)
        self.token_type = self._table("token_type_embeddings", config.type_vocab_size, config)
        # DistilBERT ignores token types: their rows are zeros, and no gradient changes them.
        self.type_scale = float(config.family != "distilbert")
        self.norm = layer_norm("embeddings/layer_norm", config.embedding_size, config)
        self.dropout = tf_keras.layers.Dropout(config.hidden_dropout_prob)
        size, width = config.embedding_size, config.hidden_size
        self.projection: Any = None
        if config.has_projection:
            self.projection = dense("embeddings/projection", size, width, config)

    def _table(self, name: str, rows: int, config: AlbertConfig) -> Any:
        initializer = tf_keras.initializers.TruncatedNormal(stddev=config.initializer_range)
        with tf.name_scope("embeddings/"):
            return self.add_weight(name, (rows, config.embedding_size), initializer=initializer)

    def call(self, input_ids: Any, token_type_ids: Any, training: bool = False) -> Any:
        """Embed tokens.

        Args:
            input_ids: int32 [B, T], in [0, V).
            token_type_ids: int32 [B, T], in [0, type_vocab_size).
            training: Whether to apply dropout.

        Returns:
            float32 [B, T, H].
        """
        vectors = tf.gather(self.word, input_ids)  # [B, T, E]
        vectors += self.type_scale * tf.gather(self.token_type, token_type_ids)
        vectors += self.position[: tf.shape(input_ids)[1]]
        vectors = self.dropout(self.norm(vectors), training=training)
        return vectors if self.projection is None else self.projection(vectors)  # [B, T, H]


class AlbertLayer(tf_keras.layers.Layer):
    """A post-norm transformer layer (Vaswani et al. 2017, arXiv:1706.03762, sec. 3)."""

    def __init__(self, path: str, config: AlbertConfig) -> None:
        super().__init__(name=path.rsplit("/", 1)[-1])
        width, heads, inner = config.hidden_size, config.attention_size, config.intermediate_size
        self.config = config
        self.activation: Callable[[Any], Any] = partial(activation, config.hidden_act)
        self.query = dense(f"{path}/attention/query", width, heads, config)
        self.key = dense(f"{path}/attention/key", width, heads, config)
        self.value = dense(f"{path}/attention/value", width, heads, config)
        self.attention_output = dense(f"{path}/attention/output", heads, width, config)
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
            training: Whether to apply dropout.

        Returns:
            float32 [B, T, H].
        """
        context = self._attend(hidden_states, attention_bias, training)
        attended = self.hidden_dropout(self.attention_output(context), training=training)
        hidden_states = self.attention_norm(hidden_states + attended)
        inner = self.activation(self.intermediate(hidden_states))  # [B, T, 4H]
        outer = self.hidden_dropout(self.ffn_output(inner), training=training)  # [B, T, H]
        return self.ffn_norm(hidden_states + outer)

    def _attend(self, hidden_states: Any, attention_bias: Any, training: bool) -> Any:
        query = self._split_heads(self.query(hidden_states))  # [B, N, T, D]
        key = self._split_heads(self.key(hidden_states))
        value = self._split_heads(self.value(hidden_states))
        scores = tf.matmul(query, key, transpose_b=True) * self.config.head_size**-0.5
        scores += tf.cast(attention_bias, scores.dtype)  # [B, N, T, T]
        weights = self.attention_dropout(tf.nn.softmax(scores), training=training)
        context = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])  # [B, T, N, D]
        shape = tf.shape(hidden_states)
        return tf.reshape(context, [shape[0], shape[1], self.config.attention_size])  # [B, T, N D]

    def _split_heads(self, values: Any) -> Any:
        heads, size = self.config.num_attention_heads, self.config.head_size
        shape = tf.shape(values)
        values = tf.reshape(values, [shape[0], shape[1], heads, size])  # [B, T, N, D]
        return tf.transpose(values, [0, 2, 1, 3])  # [B, N, T, D]


# Make a Keras model from a checkpoint.


def load_keras(
    source: str | os.PathLike[str],
    *,
    task: str = "auto",
    init_head: bool = False,
    allow_nan: bool = False,
) -> Albert:
    """Read a checkpoint into a Keras model.

    Args:
        source: A directory, a model of the Hub, a `.tflite` file, an embedded model, or a preset;
            see `read_checkpoint`.
        task: One of `tasks.TASKS`, or "auto" for the head that the checkpoint has.
        init_head: Whether to initialize a missing head randomly, to be trained.
        allow_nan: Whether weights may be NaN or infinite.

    Returns:
        The model, with the tokenizer's files and the provenance of the checkpoint.

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or it lacks the head.
        ConfigError: Its configuration is not an ALBERT's, or the task is unknown.
        MissingExtraError: The package that reads this kind of source is not installed.

    Example:
        >>> load_keras("albert-base-v2").provenance["source"]
        'albert-base-v2 (random weights)'
    """
    checkpoint = read_checkpoint(source, task=task, init_head=init_head, allow_nan=allow_nan)
    return from_checkpoint(checkpoint)


def from_checkpoint(checkpoint: Checkpoint) -> Albert:
    """Make the Keras model of `checkpoint`.

    Raises:
        CheckpointError: The tensors do not match the configuration and the task.
    """
    pooler = "pooler/kernel" in checkpoint.tensors
    model = Albert(checkpoint.config, task=checkpoint.task, pooler=pooler)
    assign(model, checkpoint.tensors)
    model.tokenizer_files = dict(checkpoint.tokenizer_files)
    # A proxy, because Keras replaces plain dictionaries by its own, which JSON cannot represent.
    provenance = {
        "source": checkpoint.source,
        "sha256": checkpoint.sha256,
        "left_out": list(checkpoint.unused),
        "drawn": list(checkpoint.randomly_initialized),
        "notes": list(checkpoint.notes),
        "changes": dict(checkpoint.changes),
    }
    model.provenance = MappingProxyType(provenance)
    model.ranges = MappingProxyType(dict(checkpoint.ranges))
    return model
