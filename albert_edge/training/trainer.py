"""One step of training, and the weights that come of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import from_checkpoint
from albert_edge.training.batches import Batch
from albert_edge.training.constraint import Constrain
from albert_edge.training.options import FinetuneOptions

__all__ = ["Trainer"]

_CLIP = 1.0  # the norm that gradients are cut to


class Trainer:
    """A model in training and the running average of what is trained.

    Args:
        start: What to train, with a classification head.
        options: How.
        class_weights: float32 [num_labels], the weight of an example by its class.
        steps: How many there will be.
        constrain: What the weights have to keep to.
    """

    def __init__(
        self,
        start: Checkpoint,
        *,
        options: FinetuneOptions,
        class_weights: np.ndarray,
        steps: int,
        constrain: Constrain,
    ) -> None:
        self._model = from_checkpoint(start)
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
        self._optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma", "centroids"])
        self._constraint = constrain(self._model, steps, self._optimizer.iterations)
        self._optimizer.build(self._constraint.trained)
        self._averages = [tf.Variable(value) for value in self._constraint.trained]
        ids = tf.TensorSpec([None, None], tf.int32)
        # One trace serves every batch size and length.
        self._step = tf.function(
            self._train,
            input_signature=[ids, ids, tf.TensorSpec([None, None], tf.float32)],
        )

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

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the averaged weights by canonical name."""
        return dict(self._constraint.weights(self._averages))

    def ranges(self) -> dict[str, np.ndarray]:
        """Return the ranges of the checkpoint's 8-bit values, if any were trained."""
        return {name: bounds.numpy() for name, bounds in self._constraint.ranges.items()}

    def snapshot(self) -> list[np.ndarray]:
        """Return all that `restore` needs to go on from here."""
        return [variable.numpy() for variable in self._variables()]

    def restore(self, snapshot: Sequence[np.ndarray]) -> None:
        """Return to a snapshot of a trainer that was made in the same way."""
        for variable, value in zip(self._variables(), snapshot, strict=True):
            variable.assign(value)

    def _variables(self) -> list[Any]:
        parts = (self._model.weights, self._constraint.trained, self._constraint.memory)
        every = [*self._optimizer.variables, *self._averages, *(v for part in parts for v in part)]
        return list({id(variable): variable for variable in every}.values())

    def _train(self, input_ids: Any, attention_mask: Any, targets: Any) -> tuple[Any, Any]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True)["logits"]  # [B, num_labels]
            loss = self._loss(logits, targets)
        gradients = tape.gradient(loss, self._model.trainable_variables)
        # Dense, also the embeddings': Keras would update a sparse one row by row.
        gradients = self._constraint.pull_back([tf.convert_to_tensor(g) for g in gradients])
        self._optimizer.apply_gradients(zip(gradients, self._constraint.trained, strict=True))
        self._constraint.enforce()
        self._update_averages()
        right = tf.equal(tf.argmax(logits, axis=-1), tf.argmax(targets, axis=-1))
        return loss, tf.reduce_mean(tf.cast(right, tf.float32))

    def _loss(self, logits: Any, targets: Any) -> Any:
        weights = tf.linalg.matvec(targets, self._class_weights)  # [B]
        targets = targets * (1 - self._smoothing) + self._smoothing / self._model.config.num_labels
        losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)  # [B]
        return tf.reduce_mean(losses * weights)

    def _update_averages(self) -> None:
        # The first steps count less and less, or the average would long remember the random start.
        seen = tf.cast(self._optimizer.iterations, tf.float32)
        keep = tf.minimum(self._averaging, seen / (seen + 9.0))
        for mean, value in zip(self._averages, self._constraint.trained, strict=True):
            mean.assign(keep * mean + (1.0 - keep) * value)
