"""Train token classification: the label of every word, at its first token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import tensorflow as tf

from albert_edge.datasets.examples import Examples
from albert_edge.errors import TrainingError
from albert_edge.pipelines.words import first_tokens
from albert_edge.tokenizer import Tokenizer
from albert_edge.training.batching import token_dropout
from albert_edge.training.objective import (
    IGNORE_INDEX,
    EncodedEpoch,
    TaskObjective,
    check_tokens,
    class_weights,
    divergence,
)
from albert_edge.training.options import FinetuneOptions


@final
class TokenClassificationObjective(TaskObjective):
    """Train on sentences with a label for every word.

    The label of a word is predicted at its first token, in training as on a device.

    Args:
        examples: Of the kind `token-classification`.
    """

    task = "token-classification"

    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        counts = Counter(label for labels in examples.targets for label in labels)
        self._counts = np.array([counts[label] for label in examples.labels])

    def check(self, options: FinetuneOptions) -> None:
        if np.count_nonzero(self._counts) < 2:
            raise TrainingError("all words have the same label; training needs several.")
        class_weights(options.class_weights or "none", self._counts, self.examples.labels)

    def encode_epoch(
        self, tokenizer: Tokenizer, options: FinetuneOptions, random: np.random.Generator
    ) -> EncodedEpoch:
        indices = {label: index for index, label in enumerate(self.examples.labels)}
        sequences, targets, truncated = [], [], 0
        for inputs, labels, place in zip(
            self.examples.inputs, self.examples.targets, self.examples.places, strict=True
        ):
            words = inputs["words"]
            text = " ".join(words)
            encoding = tokenizer.encode(text, max_length=options.max_length)
            row = np.full(len(encoding.input_ids), IGNORE_INDEX, np.float32)
            check_tokens(encoding.input_ids, tokenizer, place)
            positions = first_tokens(words, encoding.offsets)
            for position, label in zip(positions, labels, strict=True):
                if position is not None:
                    row[position] = indices[label]
            ids = encoding.input_ids
            sequences.append(
                token_dropout(ids, tokenizer, share=options.word_dropout, random=random)
            )
            targets.append(row)
            truncated += positions[-1] is None
        return EncodedEpoch(
            input_ids=sequences, targets=targets, per_token=True, truncated=truncated
        )

    def pass_loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        logits = outputs["logits"]  # [B, T, C]
        count = len(self.examples.labels)
        setting = options.class_weights or "none"
        weights = tf.constant(
            class_weights(setting, self._counts, self.examples.labels), tf.float32
        )
        hard = tf.one_hot(tf.cast(targets, tf.int32), count)  # [B, T, C], all 0 where ignored
        soft = hard * (1 - options.label_smoothing) + options.label_smoothing / count
        losses = tf.nn.softmax_cross_entropy_with_logits(soft, logits)  # [B, T]
        return _mean(losses * tf.linalg.matvec(hard, weights), targets)

    def imitation(
        self,
        outputs: Mapping[str, Any],
        taught: Mapping[str, Any],
        targets: Any,
        mask: Any,
        temperature: float,
    ) -> Any:
        return _mean(divergence(outputs["logits"], taught["logits"], temperature), targets)

    def accuracy(self, outputs: Mapping[str, Any], targets: Any, mask: Any) -> Any:
        predicted = tf.argmax(outputs["logits"], axis=-1, output_type=tf.int32)  # [B, T]
        return _mean(tf.cast(tf.equal(predicted, tf.cast(targets, tf.int32)), tf.float32), targets)


def _mean(values: Any, targets: Any) -> Any:
    """Return the mean of `values`, float32 [B, T], over the tokens with a target."""
    known = tf.cast(targets > IGNORE_INDEX, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(values * known), tf.reduce_sum(known))
