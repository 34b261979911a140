"""One step of training, and the weights that come of many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import Albert, from_checkpoint
from albert_edge.modeling.layers import canonical_name
from albert_edge.training.batching import Batch
from albert_edge.training.mixed_precision import mixed_precision
from albert_edge.training.objective import TaskObjective
from albert_edge.training.options import FinetuneOptions

__all__ = ["Constraint", "MakeConstraint", "Trainer", "Unconstrained", "name_weights"]

_CLIP = 1.0  # the norm that gradients are cut to


class Trainer:
    """A model in training and the running average of what is trained.

    Args:
        start: What to train, with the head of the objective's task.
        objective: The loss and the accuracy.
        options: How.
        steps: How many there will be.
        constrain: What the weights have to keep to.
    """

    def __init__(
        self,
        start: Checkpoint,
        objective: TaskObjective,
        *,
        options: FinetuneOptions,
        steps: int,
        constrain: MakeConstraint,
    ) -> None:
        with mixed_precision(options.mixed_precision):
            self._model = from_checkpoint(start)
        self._objective, self._options = objective, options
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
            input_signature=[ids, ids, ids, tf.TensorSpec([None, None], tf.float32)],
        )

    def step(self, batch: Batch, targets: np.ndarray, *, rate: float) -> tuple[float, float]:
        """Learn from a batch.

        Args:
            batch: The examples.
            targets: float32 [B, K], as the objective's loss takes them.
            rate: The learning rate of this step.

        Returns:
            The batch's loss and share of right answers, with dropout.
        """
        self._optimizer.learning_rate.assign(rate)
        ids, types, mask = batch.input_ids, batch.token_type_ids, batch.attention_mask
        loss, accuracy = self._step(ids, types, mask, targets)
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

    def _train(self, input_ids: Any, types: Any, mask: Any, targets: Any) -> tuple[Any, Any]:
        inputs = {"input_ids": input_ids, "token_type_ids": types, "attention_mask": mask}
        with tf.GradientTape() as tape:
            outputs = self._model(inputs, training=True)
            outputs = {name: tf.cast(values, tf.float32) for name, values in outputs.items()}
            loss = self._objective.loss(outputs, targets, mask, self._options)
        gradients = tape.gradient(loss, self._model.trainable_variables)
        # Dense, also the embeddings': Keras would update a sparse one row by row.
        gradients = self._constraint.pull_back([tf.convert_to_tensor(g) for g in gradients])
        self._update(gradients)
        self._constraint.enforce()
        self._update_averages()
        return loss, self._objective.right(outputs, targets, mask)

    def _update(self, gradients: Sequence[Any]) -> None:
        trained = self._constraint.trained
        rates = [self._rate(variable) for variable in trained]
        # Adam's steps do not depend on the size of the gradients, so what is scaled is the step.
        before = [v.read_value() if r != 1 else None for v, r in zip(trained, rates, strict=True)]
        self._optimizer.apply_gradients(zip(gradients, trained, strict=True))
        for variable, value, rate in zip(trained, before, rates, strict=True):
            if value is not None:
                variable.assign(value + rate * (variable - value))

    def _rate(self, variable: Any) -> float:
        """Return what the learning rate of a variable is multiplied with."""
        part = canonical_name(variable).partition("/")[0]
        rates = {
            "embeddings": self._options.embeddings_rate,
            "encoder": self._options.encoder_rate,
        }
        return rates.get(part, 1.0)

    def _update_averages(self) -> None:
        # The first steps count less and less, or the average would long remember the random start.
        seen = tf.cast(self._optimizer.iterations, tf.float32)
        keep = tf.minimum(self._options.averaging, seen / (seen + 9.0))
        for mean, value in zip(self._averages, self._constraint.trained, strict=True):
            mean.assign(keep * mean + (1.0 - keep) * value)


# What the weights of a model have to keep to while it is trained.


class Constraint(ABC):
    """The tie between the variables that an optimizer trains and the weights of the model.

    Between two steps the model's weights always keep to the constraint.  A step goes: the loss's
    gradients by the weights, `pull_back`, the optimizer's update of `trained`, `enforce`.

    Attributes:
        trained: The variables that the optimizer updates, and whose running average is kept.
        memory: Further variables that a training has to find again when it is resumed.
        ranges: Those of them that go into the checkpoint's `ranges`, by name.
    """

    trained: Sequence[Any]
    memory: Sequence[Any] = ()
    ranges: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def pull_back(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """Turn the gradients by the model's trainable weights into those by `trained`."""

    @abstractmethod
    def enforce(self) -> None:
        """Make the model's weights what follows from `trained`; runs inside a `tf.function`."""

    @abstractmethod
    def weights(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        """Return the weights by canonical name that follow from averages of `trained`."""


# Builds the constraint of a model that is about to be trained for so many steps.  The third
# argument is the variable that counts the steps: 1 after the first.
MakeConstraint: TypeAlias = Callable[[Albert, int, Any], Constraint]


class Unconstrained(Constraint):
    """No constraint: the model's weights are what is trained."""

    def __init__(self, model: Albert, steps: int, step: Any) -> None:
        self.trained = model.trainable_variables

    def pull_back(self, gradients: Sequence[Any]) -> Sequence[Any]:
        return gradients

    def enforce(self) -> None:
        tf.no_op()  # autograph cannot read a body that is empty

    def weights(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        return name_weights(self.trained, averages)


def name_weights(variables: Sequence[Any], values: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return `values`, variables themselves, by the canonical names of the model's `variables`."""
    return {
        canonical_name(variable): value.numpy()
        for variable, value in zip(variables, values, strict=True)
    }
