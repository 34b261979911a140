"""ALBERT, from ids to answers: embed, then the same layer again and again, then a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.modeling.embeddings import AlbertEmbeddings
from albert_edge.modeling.encoder import MASKED, AlbertLayer
from albert_edge.modeling.heads import make_head

__all__ = ["Albert"]


class Albert(tf_keras.Model):
    """A weight-shared ALBERT with the head of one task.

    Lan et al. 2020, arXiv:1909.11942.  Each stage can be called alone: `embed`, `layer`, `head`.

    Args:
        config: The shape.
        task: One of `config.TASKS`.
        pooler: Whether `feature-extraction` has a pooler, and so the output `pooler_output`; some
            encoders were trained without one.

    Attributes:
        tokenizer_files: The tokenizer's files by name, as the checkpoint held them.
        provenance: Where the weights come from, ready for JSON.
        ranges: What its 8-bit values were trained to reach from and to; see `Checkpoint`.

    Example:
        >>> tiny = AlbertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)
        >>> Albert(tiny, task="classification")({"input_ids": [[2, 5, 3]]})["logits"].shape
        TensorShape([1, 2])
    """

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
        """Map int32 [B, T] ids and types to hidden states, float32 [B, T, H]."""
        return self.embeddings(input_ids, token_type_ids, training=training)

    def layer(self, index: int, hidden_states: Any, bias: Any, training: bool = False) -> Any:
        """Make pass `index`, in [0, num_hidden_layers), over hidden states [B, T, H].

        `bias` is float32 [B, 1, 1, T], 0 for tokens and `MASKED` for padding.
        """
        for layer in self.groups[self.config.group_of_layer(index)]:
            hidden_states = layer(hidden_states, bias, training=training)
        return hidden_states

    def head(self, hidden_states: Any, training: bool = False) -> dict[str, Any]:
        """Map the last hidden states, float32 [B, T, H], to the task's outputs by name."""
        outputs: dict[str, Any] = self.task_head(hidden_states, training=training)
        return outputs

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Answer a batch.

        Args:
            inputs: `input_ids` int32 [B, T], in [0, V); optionally `token_type_ids` (0 when left
                out) and `attention_mask` (1 for tokens, 0 for padding), both int32 [B, T].
            training: Whether to drop out.

        Returns:
            The task's outputs by their names, float32.  In training with `early_exit` there is
            also `exit_logits` [B, L, C], the logits after every pass; `logits` are the last.
        """
        if training and self.config.early_exit:
            logits = self.exits(inputs, training=True)
            return {"logits": logits[:, -1], "exit_logits": logits}
        return self.head(self._encode(inputs, training)[0], training=training)

    def exits(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        """Answer a batch after every pass, of a model with `early_exit`.

        Args:
            inputs: As `call` takes them.
            training: Whether to drop out.

        Returns:
            Logits, float32 [B, L, C], where L is `num_hidden_layers`; the last are `call`'s.
        """
        firsts = self._encode(inputs, training)[1]
        return self.task_head.exits(tf.stack(firsts, axis=1), training=training)

    def _encode(self, inputs: Mapping[str, Any], training: bool) -> tuple[Any, list[Any]]:
        """Return the last hidden states [B, T, H], and the first token's after every pass."""
        input_ids = tf.convert_to_tensor(inputs["input_ids"])
        types = inputs.get("token_type_ids", tf.zeros_like(input_ids))
        mask = inputs.get("attention_mask", tf.ones_like(input_ids))
        bias = (1.0 - tf.cast(mask, tf.float32))[:, None, None, :] * MASKED  # [B, 1, 1, T]
        hidden_states = self.embed(input_ids, types, training=training)
        firsts = []
        for index in range(self.config.num_hidden_layers):
            hidden_states = self.layer(index, hidden_states, bias, training=training)
            firsts.append(hidden_states[:, 0])  # [B, H]
        return hidden_states, firsts
