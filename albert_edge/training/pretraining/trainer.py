"""Pre-training steps: masked language modeling and sentence order, with LAMB or AdamW."""

from __future__ import annotations

import ctypes
import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import MASKED, from_checkpoint, tensors
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.state import Resumable
from albert_edge.training.trainer import mixed_precision

_CLIP = 1.0  # the largest global norm of the gradients
# The metrics of a step and of an evaluation, in this order.
METRICS = ("loss", "mlm_loss", "mlm_accuracy", "sop_loss", "sop_accuracy")
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-6  # Lan et al. 2020's, as Google's code has them
_UNDECAYED = ("bias", "beta", "gamma")
# M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX of mallopt(3): no block is mapped on its own, the
# heap does not shrink, and all threads share it.
_MALLOC = {-4: 0, -1: 2**31 - 1, -8: 1}


class StepTrainer(Resumable):
    """A model in training, step by step, on one replica or several.

    Args:
        options: The options of the training.
        strategy: The replicas, each of which computes a part of every batch; None for one.
        signature: The types of a batch's arrays, if their shapes differ from batch to batch.

    Attributes:
        sums_size: S, the number of the sums of a step.
    """

    sums_size: ClassVar[int]

    def __init__(
        self,
        options: PretrainOptions,
        *,
        strategy: Any = None,
        signature: Mapping[str, Any] | None = None,
    ) -> None:
        _keep_freed_memory()
        self._strategy = strategy or tf.distribute.get_strategy()
        with self._strategy.scope(), mixed_precision(options.mixed_precision):
            self._model, self._others = self._build()
            self._trained = [*self._model.trainable_variables, *self._others]
            self._optimizer = Lamb(
                self._trained,
                weight_decay=options.weight_decay,
                adapt=options.optimizer == "lamb",
            )
        self._parts = options.accumulate
        run = self._strategy.run
        self._train = tf.function(
            lambda batch, rate: run(self._step, args=(batch, rate)),
            input_signature=signature and [dict(signature), tf.TensorSpec([], tf.float32)],
            autograph=False,
        )
        self._evaluate = tf.function(
            self._sums, input_signature=signature and [dict(signature)], autograph=False
        )

    @abstractmethod
    def _build(self) -> tuple[Any, Sequence[Any]]:
        """Build the model, and further variables that are trained but no part of it."""

    @abstractmethod
    def _counts(self, batch: Mapping[str, Any]) -> list[Any]:
        """Return what the sums of this replica's rows are divided by, each float32 []."""

    @abstractmethod
    def _sums(self, batch: Mapping[str, Any]) -> Any:
        """Return sums over the rows of a batch, float32 [S]."""

    @abstractmethod
    def _loss(self, sums: Any, counts: Sequence[Any]) -> Any:
        """Return the loss, float32 [], from sums over some rows and counts of all rows."""

    @abstractmethod
    def metrics(self, sums: np.ndarray) -> dict[str, float]:
        """Return metrics by name, from sums over batches, float64 [S]."""

    @property
    @final
    def done(self) -> int:
        """The number of finished steps."""
        return int(self._optimizer.step.numpy())

    @final
    def step(self, batch: Mapping[str, Any], *, rate: float) -> np.ndarray:
        """Train on this replica's rows of a batch.

        Args:
            batch: The arrays of an `EpochBatches`, or as many rows of them as every replica has.
            rate: The learning rate.

        Returns:
            float64 [S], the sums over the whole batch.
        """
        sums: np.ndarray = self._train(batch, tf.constant(rate, tf.float32)).numpy()
        return sums.astype(np.float64)

    @final
    def evaluate(self, batches: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the metrics of held-out batches."""
        sums = np.stack([self._evaluate(batch).numpy() for batch in batches])  # [batches, S]
        return self.metrics(np.asarray(sums.sum(axis=0, dtype=np.float64)))

    @final
    def tensors(self) -> dict[str, np.ndarray]:
        """Return the model's weights by canonical name."""
        return tensors(self._model)

    @final
    def _variables(self) -> list[Any]:
        return [*self._model.weights, *self._others, *self._optimizer.variables]

    @final
    def _step(self, batch: Mapping[str, Any], rate: Any) -> Any:
        all_reduce = tf.distribute.get_replica_context().all_reduce
        counts = all_reduce("SUM", self._counts(batch))
        gradients: list[Any] = [0.0] * len(self._trained)
        sums: Any = 0.0
        for part in range(self._parts):
            share = {name: tf.split(array, self._parts)[part] for name, array in batch.items()}
            with tf.GradientTape() as tape:
                found = self._sums(share)
                loss = self._loss(found, counts)
            # Keras would update the rows of sparse gradients only.
            dense = map(tf.convert_to_tensor, tape.gradient(loss, self._trained))
            gradients = [a + b for a, b in zip(gradients, dense, strict=True)]
            sums += found
        clipped, _ = tf.clip_by_global_norm(all_reduce("SUM", gradients), _CLIP)
        self._optimizer.apply(clipped, rate)
        return all_reduce("SUM", sums)


def _keep_freed_memory() -> None:
    """Let glibc keep the megabytes that a step frees, for the next step.

    It would return them to the system, which has to clear every page again: a third of the
    processor's time of a distillation.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):  # glibc
        for option, value in _MALLOC.items():
            library.mallopt(option, value)


def embed_batch(model: Any, input_ids: Any, token_type_ids: Any, mask: Any) -> tuple[Any, Any]:
    """Return the embeddings of a batch, [B, T, H], and the bias of its attention scores.

    Args:
        model: The model.
        input_ids: int32 [B, T], in [0, V).
        token_type_ids: int32 [B, T].
        mask: int32 or float32 [B, T], 1 for tokens, 0 for padding.
    """
    bias = (1.0 - tf.cast(mask, tf.float32))[:, None, None, :] * MASKED  # [B, 1, 1, T]
    return model.embed(input_ids, token_type_ids), bias


@final
class PretrainTrainer(StepTrainer):
    """A model in pre-training on masked words and the order of segments.

    There is no dropout: Lan et al. 2020, arXiv:1909.11942, sec. 4.8, find that it does harm here.
    So a resumed training ends exactly as an uninterrupted one.

    Args:
        start: The checkpoint to train, with a pre-training head.
        options, strategy: As in `StepTrainer`.
    """

    sums_size = 6

    def __init__(
        self, start: Checkpoint, options: PretrainOptions, *, strategy: Any = None
    ) -> None:
        self._start = start
        super().__init__(options, strategy=strategy)

    def _build(self) -> tuple[Any, Sequence[Any]]:
        return from_checkpoint(self._start), ()

    def _counts(self, batch: Mapping[str, Any]) -> list[Any]:
        """Return the numbers of masked words and of pairs."""
        return [tf.reduce_sum(batch["weights"]), tf.cast(tf.size(batch["order"]), tf.float32)]

    def _loss(self, sums: Any, counts: Sequence[Any]) -> Any:
        words, pairs = counts
        # Very short segments may have no word that is short enough to be masked.
        return sums[1] / tf.maximum(words, 1.0) + sums[4] / pairs

    def _sums(self, batch: Mapping[str, Any]) -> Any:
        """Return the sums of `mean_metrics`, float32 [6]."""
        predicted, ordered = self._forward(batch)  # [B * M, V], [B, 2]
        targets, weights = (tf.reshape(batch[name], [-1]) for name in ("targets", "weights"))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=predicted)
        mlm = tf.reduce_sum(losses * weights)
        order = tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=batch["order"], logits=ordered)
        )
        correct = tf.reduce_sum(_is_correct(predicted, targets) * weights)
        correct_order = tf.reduce_sum(_is_correct(ordered, batch["order"]))
        pairs = tf.cast(tf.shape(ordered)[0], tf.float32)
        return tf.stack([tf.reduce_sum(weights), mlm, correct, pairs, order, correct_order])

    def _forward(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        model = self._model
        inputs = (batch[name] for name in ("input_ids", "token_type_ids", "attention_mask"))
        hidden, bias = embed_batch(model, *inputs)  # [B, T, H]
        for index in range(model.config.num_hidden_layers):
            hidden = model.layer(index, hidden, bias)
        # Only masked words are predicted: the product with V columns per token is the largest cost.
        masked = tf.gather(hidden, batch["places"], batch_dims=1)  # [B, M, H]
        masked = tf.reshape(masked, [1, -1, masked.shape[-1]])  # [1, B * M, H]
        predicted = model.task_head.predictions(masked)["logits"][0]  # [B * M, V]
        ordered = model.task_head.order(hidden)["sop_logits"]
        return tf.cast(predicted, tf.float32), tf.cast(ordered, tf.float32)

    def metrics(self, sums: np.ndarray) -> dict[str, float]:
        return mean_metrics(sums)


def _is_correct(logits: Any, targets: Any) -> Any:
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cast(tf.equal(predicted, targets), tf.float32)


def mean_metrics(sums: np.ndarray) -> dict[str, float]:
    """Return the means by the names of `METRICS`.

    Args:
        sums: float64 [6], over steps: masked words, their losses, correct ones among them, pairs,
            their losses, correct ones among them.
    """
    words, mlm, correct, pairs, order, correct_order = sums.tolist()
    words = max(words, 1.0)  # very short segments may have no masked words
    values = (mlm / words + order / pairs, mlm / words, correct / words, order / pairs)
    return dict(zip(METRICS, (*values, correct_order / pairs), strict=True))


class Lamb:
    """The LAMB optimizer, and AdamW as its special case.

    You et al. 2020, arXiv:1904.00962, algorithm 2: Adam's update with decoupled weight decay, times
    the ratio of the variable's norm to the update's.  As in ALBERT's own code, biases and
    normalizations have neither decay nor ratio.

    Args:
        variables: The variables to train.
        weight_decay: The fraction of a weight that is subtracted, times the learning rate.
        adapt: Whether to scale updates by the ratio; without it this is AdamW (Loshchilov and
            Hutter 2019, arXiv:1711.05101).

    Attributes:
        step: int64 [], the number of updates.
        variables: All variables of the optimizer's state.
    """

    def __init__(self, variables: Sequence[Any], *, weight_decay: float, adapt: bool) -> None:
        self._trained = list(variables)
        self._decay, self._adapt = weight_decay, adapt
        self._means = [tf.Variable(tf.zeros_like(one), trainable=False) for one in variables]
        self._squares = [tf.Variable(tf.zeros_like(one), trainable=False) for one in variables]
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def variables(self) -> list[Any]:
        return [self.step, *self._means, *self._squares]

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """Update every variable by its gradient, which is the same on all replicas.

        Args:
            gradients: float32, a tensor for every variable.
            rate: float32 [], the learning rate.
        """
        replica = tf.distribute.get_replica_context()
        replica.merge_call(self._update_all, args=(list(gradients), rate))

    def _update_all(self, strategy: Any, gradients: Sequence[Any], rate: Any) -> None:
        self.step.assign_add(1)
        update = strategy.extended.update
        for variable, *others in zip(
            self._trained, self._means, self._squares, gradients, strict=True
        ):
            update(variable, self._update, args=(*others, rate, self.step), group=False)

    def _update(
        self, variable: Any, mean: Any, square: Any, gradient: Any, rate: Any, step: Any
    ) -> None:
        done = tf.cast(step, tf.float32)
        mean.assign(_BETA_1 * mean + (1.0 - _BETA_1) * gradient)
        square.assign(_BETA_2 * square + (1.0 - _BETA_2) * gradient * gradient)
        size = tf.sqrt(square / (1.0 - _BETA_2**done)) + _EPSILON
        change = mean / (1.0 - _BETA_1**done) / size
        if variable.name.removesuffix(":0").rsplit("/", 1)[-1] not in _UNDECAYED:
            change += self._decay * variable
            change *= _ratio(variable, change) if self._adapt else 1.0
        variable.assign_sub(rate * change)


def _ratio(variable: Any, update: Any) -> Any:
    own, other = tf.norm(variable), tf.norm(update)
    known = tf.logical_and(own > 0, other > 0)
    return tf.where(known, own / tf.where(known, other, 1.0), 1.0)
