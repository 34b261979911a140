"""One step of pre-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import from_checkpoint
from albert_edge.modeling.encoder import MASKED
from albert_edge.modeling.variables import tensors
from albert_edge.training.precision import computing_in
from albert_edge.training.pretraining.optimizer import Lamb
from albert_edge.training.pretraining.options import PretrainOptions

__all__ = ["FIGURES", "Trainer", "figures"]

_CLIP = 1.0  # the norm that gradients are cut to
# What a step and an examination tell, in this order.
FIGURES = ("loss", "mlm_loss", "mlm_accuracy", "sop_loss", "sop_accuracy")


class Trainer:
    """A model that learns masked words and the order of sentences.

    Nothing is dropped out: Lan et al. 2020, arXiv:1909.11942, sec. 4.8, find it does harm here, and
    so a training goes on after an interruption as if there had been none.

    Args:
        start: What to train, with a pre-training head.
        options: How.
        strategy: The replicas, each of which computes a part of every batch; None for one.
    """

    def __init__(
        self, start: Checkpoint, options: PretrainOptions, *, strategy: Any = None
    ) -> None:
        self._strategy = strategy or tf.distribute.get_strategy()
        with self._strategy.scope(), computing_in(options.mixed_precision):
            self._model = from_checkpoint(start)
            self._trained = self._model.trainable_variables
            self._optimizer = Lamb(
                self._trained,
                weight_decay=options.weight_decay,
                adapt=options.optimizer == "lamb",
            )
        self._parts = options.accumulate
        run = self._strategy.run
        self._learn = tf.function(lambda batch, rate: run(self._step, args=(batch, rate)))
        self._look = tf.function(lambda batch: self._sums(batch)[1])

    @property
    def done(self) -> int:
        """How many steps were made."""
        return int(self._optimizer.step.numpy())

    def step(self, batch: Mapping[str, Any], *, rate: float) -> np.ndarray:
        """Learn from this replica's rows of a batch; return the whole batch's sums.

        Args:
            batch: The arrays of `Batches`, or as many rows of them as every replica has.
            rate: The learning rate.

        Returns:
            float64 [6], what `figures` takes.
        """
        sums: np.ndarray = self._learn(batch, tf.constant(rate, tf.float32)).numpy()
        return sums.astype(np.float64)

    def examine(self, batches: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the `FIGURES` of batches that are not learned from."""
        sums = np.stack([self._look(batch).numpy() for batch in batches])  # [batches, 6]
        return figures(np.asarray(sums.sum(axis=0, dtype=np.float64)))

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights by canonical name."""
        return tensors(self._model)

    def snapshot(self) -> list[np.ndarray]:
        """Return all that `restore` needs to go on from here."""
        return [variable.numpy() for variable in self._variables()]

    def restore(self, snapshot: Sequence[np.ndarray]) -> None:
        """Return to a snapshot of a trainer that was made in the same way."""
        for variable, value in zip(self._variables(), snapshot, strict=True):
            variable.assign(value)

    def _variables(self) -> list[Any]:
        return [*self._model.weights, *self._optimizer.variables]

    def _step(self, batch: Mapping[str, Any], rate: Any) -> Any:
        everywhere = tf.distribute.get_replica_context().all_reduce
        local = [tf.reduce_sum(batch["weights"]), tf.cast(tf.size(batch["order"]), tf.float32)]
        words, pairs = everywhere("SUM", local)
        gradients: list[Any] = [0.0] * len(self._trained)
        sums: Any = 0.0
        for part in range(self._parts):
            share = {name: tf.split(array, self._parts)[part] for name, array in batch.items()}
            with tf.GradientTape() as tape:
                (mlm, order), found = self._sums(share)
                # Very short segments may have no word that is short enough to be hidden.
                loss = mlm / tf.maximum(words, 1.0) + order / pairs
            # Dense, also the embeddings': they are predicted with, and so all of them move.
            dense = map(tf.convert_to_tensor, tape.gradient(loss, self._trained))
            gradients = [a + b for a, b in zip(gradients, dense, strict=True)]
            sums += found
        clipped, _ = tf.clip_by_global_norm(everywhere("SUM", gradients), _CLIP)
        self._optimizer.apply(clipped, rate)
        return everywhere("SUM", sums)

    def _sums(self, batch: Mapping[str, Any]) -> tuple[tuple[Any, Any], Any]:
        """Return the sums of both losses, and what `figures` takes, float32 [6]."""
        predicted, ordered = self._answer(batch)  # [B * M, V], [B, 2]
        targets, weights = (tf.reshape(batch[name], [-1]) for name in ("targets", "weights"))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=predicted)
        mlm = tf.reduce_sum(losses * weights)
        order = tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=batch["order"], logits=ordered)
        )
        right = tf.reduce_sum(_right(predicted, targets) * weights)
        right_order = tf.reduce_sum(_right(ordered, batch["order"]))
        pairs = tf.cast(tf.shape(ordered)[0], tf.float32)
        sums = [tf.reduce_sum(weights), mlm, right, pairs, order, right_order]
        return (mlm, order), tf.stack(sums)

    def _answer(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        model = self._model
        bias = (1.0 - tf.cast(batch["attention_mask"], tf.float32))[:, None, None, :] * MASKED
        hidden = model.embed(batch["input_ids"], batch["token_type_ids"])  # [B, T, H]
        for index in range(model.config.num_hidden_layers):
            hidden = model.layer(index, hidden, bias)
        # Only hidden words are predicted: a product with V columns for every token costs most.
        masked = tf.gather(hidden, batch["places"], batch_dims=1)  # [B, M, H]
        masked = tf.reshape(masked, [1, -1, masked.shape[-1]])  # [1, B * M, H]
        predicted = model.task_head.predictions(masked)["logits"][0]  # [B * M, V]
        ordered = model.task_head.order(hidden)["sop_logits"]
        return tf.cast(predicted, tf.float32), tf.cast(ordered, tf.float32)


def _right(logits: Any, targets: Any) -> Any:
    found = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cast(tf.equal(found, targets), tf.float32)


def figures(sums: np.ndarray) -> dict[str, float]:
    """Turn sums, float64 [6], into the figures of what was added up, by the names of `FIGURES`."""
    words, mlm, right, pairs, order, right_order = sums.tolist()
    words = max(words, 1.0)  # none may be hidden where segments are very short
    values = (mlm / words + order / pairs, mlm / words, right / words, order / pairs)
    return dict(zip(FIGURES, (*values, right_order / pairs), strict=True))
