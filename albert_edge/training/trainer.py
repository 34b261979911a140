"""One step of training, and the model that comes of many."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import from_checkpoint
from albert_edge.modeling.variables import tensors
from albert_edge.training.batches import Batch
from albert_edge.training.options import FinetuneOptions

__all__ = ["Trainer"]

_CLIP = 1.0  # the norm that gradients are cut to


class Trainer:
    """A model in training and the running average of its weights.

    Args:
        start: What to train, with a classification head.
        options: How.
        class_weights: float32 [num_labels], the weight of an example by its class.
    """

    def __init__(
        self, start: Checkpoint, *, options: FinetuneOptions, class_weights: np.ndarray
    ) -> None:
        self._model = from_checkpoint(start)
        self._average = from_checkpoint(start)
        self._averaging = options.averaging
        self._smoothing = options.label_smoothing
        self._class_weights = tf.constant(class_weights, tf.float32)
        self._optimizer = tf_keras.optimizers.AdamW(
            options.learning_rate,
            weight_decay=options.weight_decay,
            beta_2=0.98,  # gradients change quickly over so few steps
            global_clipnorm=_CLIP,
            jit_compile=False,
        )
        self._optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
        self._optimizer.build(self._model.trainable_variables)
        ids = tf.TensorSpec([None, None], tf.int32)
        # One trace serves every batch size and length.
        self._step = tf.function(
            self._train, input_signature=[ids, ids, tf.TensorSpec([None, None], tf.float32)]
        )
        self._answer = tf.function(self._infer, input_signature=[ids, ids])

    def step(self, batch: Batch, targets: np.ndarray, *, rate: float) -> tuple[float, float]:
        """Learn from a batch.

        Args:
            batch: The texts.
            targets: float32 [B, num_labels], the share of each class; rows sum to 1.
            rate: The learning rate of this step.

        Returns:
            The batch's loss and accuracy, with dropout.
        """
        self._optimizer.learning_rate.assign(rate)
        loss, accuracy = self._step(batch.input_ids, batch.attention_mask, targets)
        return float(loss), float(accuracy)

    def logits(self, batch: Batch) -> np.ndarray:
        """Answer a batch with the averaged weights: float32 [B, num_labels]."""
        answer: np.ndarray = self._answer(batch.input_ids, batch.attention_mask).numpy()
        return answer

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the averaged weights by canonical name."""
        return tensors(self._average)

    def _train(self, input_ids: Any, attention_mask: Any, targets: Any) -> tuple[Any, Any]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True)["logits"]  # [B, num_labels]
            loss = self._loss(logits, targets)
        variables = self._model.trainable_variables
        # Dense, also the embeddings': Keras would update a sparse one row by row.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self._update_average()
        right = tf.equal(tf.argmax(logits, axis=-1), tf.argmax(targets, axis=-1))
        return loss, tf.reduce_mean(tf.cast(right, tf.float32))

    def _loss(self, logits: Any, targets: Any) -> Any:
        weights = tf.linalg.matvec(targets, self._class_weights)  # [B]
        targets = targets * (1 - self._smoothing) + self._smoothing / self._model.config.num_labels
        losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)  # [B]
        return tf.reduce_mean(losses * weights)

    def _update_average(self) -> None:
        # The first steps count less and less, or the average would long remember the random start.
        seen = tf.cast(self._optimizer.iterations, tf.float32)
        keep = tf.minimum(self._averaging, seen / (seen + 9.0))
        for mean, value in zip(self._average.weights, self._model.weights, strict=True):
            mean.assign(keep * mean + (1.0 - keep) * value)

    def _infer(self, input_ids: Any, attention_mask: Any) -> Any:
        return self._average({"input_ids": input_ids, "attention_mask": attention_mask})["logits"]
