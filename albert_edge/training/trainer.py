"""Fine-tuning steps on a Keras model, with averaged weights and constraints on them.

A constraint ties the variables that the optimizer updates to the weights of the model: pruning,
clustering and quantization-aware training are constraints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import Albert, canonical_name, from_checkpoint, keras_settings
from albert_edge.training.batching import Batch
from albert_edge.training.objective import TaskObjective
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.state import Resumable
from albert_edge.training.teacher import Teacher

__all__ = ["Constraint", "MakeConstraint", "mixed_precision", "name_weights"]

_CLIP = 1.0  # the largest global norm of the gradients


class Trainer(Resumable):
    """A model in training and the running average of the trained variables.

    Args:
        start: The checkpoint to train, with the head of the objective's task.
        objective: The loss and the accuracy.
        options: The options of the training.
        steps: The number of steps of the whole training.
        constrain: The constraint on the weights.
        teacher: The model to learn from beside the targets, if any.
    """

    def __init__(
        self,
        start: Checkpoint,
        objective: TaskObjective,
        *,
        options: FinetuneOptions,
        steps: int,
        constrain: MakeConstraint,
        teacher: Teacher | None = None,
    ) -> None:
        with mixed_precision(options.mixed_precision), _dropout_generators():
            self._model = from_checkpoint(start)
        self._teacher = teacher
        layers = self._model.submodules
        dropouts = [layer for layer in layers if isinstance(layer, tf_keras.layers.Dropout)]
        for layer in dropouts:  # a step that made their generators would be traced twice
            layer._random_generator._maybe_init()
        self._dropouts = [layer for layer in dropouts if layer.rate]
        self._objective, self._options = objective, options
        with keras_settings("float32"):
            self._optimizer = tf_keras.optimizers.AdamW(
                options.learning_rate,
                weight_decay=options.weight_decay,
                beta_2=0.98,  # in so few steps the gradients change quickly
                global_clipnorm=_CLIP,
                jit_compile=False,
            )
            self._optimizer.exclude_from_weight_decay(
                var_names=["bias", "beta", "gamma", "centroids"]
            )
            self._constraint = constrain(self._model, steps, self._optimizer.iterations)
            self._optimizer.build(self._constraint.trained)
            self._averages = [tf.Variable(value) for value in self._constraint.trained]
        ids = tf.TensorSpec([None, None], tf.int32)
        # One trace serves every batch size and length.
        self._step = tf.function(
            self._train,
            input_signature=[ids, ids, ids, tf.TensorSpec([None, None], tf.float32)],
            autograph=False,
        )

    def step(
        self, batch: Batch, targets: np.ndarray, *, learning_rate: float
    ) -> tuple[float, float]:
        """Train on a batch.

        Args:
            batch: The examples.
            targets: float32 [B, K], as in the objective's loss.
            learning_rate: The learning rate of this step.

        Returns:
            The batch's loss and accuracy, with dropout.
        """
        self._optimizer.learning_rate.assign(learning_rate)
        self._seed_dropout()
        ids, types, mask = batch.input_ids, batch.token_type_ids, batch.attention_mask
        loss, accuracy = self._step(ids, types, mask, targets)
        return float(loss), float(accuracy)

    def _seed_dropout(self) -> None:
        """Derive the step's dropout masks from the seed and the number of the step alone."""
        step = int(self._optimizer.iterations.numpy())
        for index, layer in enumerate(self._dropouts):
            seed = np.random.SeedSequence([self._options.seed, step, index]).generate_state(1)[0]
            # Keras does not offer the generator of a layer.
            layer._random_generator._generator.reset_from_seed(int(seed))

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the averaged weights by canonical name."""
        return dict(self._constraint.tensors(self._averages))

    def ranges(self) -> dict[str, np.ndarray]:
        """Return the trained ranges of the checkpoint's 8-bit activations, if there are any."""
        return {name: bounds.numpy() for name, bounds in self._constraint.ranges.items()}

    def _variables(self) -> list[Any]:
        parts = (self._model.weights, self._constraint.trained, self._constraint.untrained)
        every = [*self._optimizer.variables, *self._averages, *(v for part in parts for v in part)]
        return list({id(variable): variable for variable in every}.values())

    def _train(self, input_ids: Any, types: Any, mask: Any, targets: Any) -> tuple[Any, Any]:
        inputs = {"input_ids": input_ids, "token_type_ids": types, "attention_mask": mask}
        taught = self._objective.taught(inputs)
        with tf.GradientTape() as tape:
            passes = self._model.passes(inputs, training=True)
            outputs = {**self._model.outputs_of(passes, training=True), **taught}
            outputs = {name: tf.cast(values, tf.float32) for name, values in outputs.items()}
            loss = self._objective.loss(outputs, targets, mask, self._options)
            whole = loss
            if self._teacher:
                loss, whole = self._teacher.losses(loss, inputs, passes, outputs)
        gradients = tape.gradient(whole, self._model.trainable_variables)
        # The gradients of the embeddings too are dense: Keras would update sparse ones by rows.
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        self._update(self._constraint.map_gradients(dense))
        self._constraint.project()
        self._update_averages()
        return loss, self._objective.accuracy(outputs, targets, mask)

    def _update(self, gradients: Sequence[Any]) -> None:
        trained = self._constraint.trained
        rates = [self._multiplier(variable) for variable in trained]
        # Adam's steps do not depend on the size of the gradients, so the step is scaled instead.
        before = [v.read_value() if r != 1 else None for v, r in zip(trained, rates, strict=True)]
        self._optimizer.apply_gradients(zip(gradients, trained, strict=True))
        for variable, value, rate in zip(trained, before, rates, strict=True):
            if value is not None:
                variable.assign(value + rate * (variable - value))

    def _multiplier(self, variable: Any) -> float:
        """Return the learning-rate multiplier of a variable."""
        part = canonical_name(variable).partition("/")[0]
        rates = {
            "embeddings": self._options.embeddings_rate,
            "encoder": self._options.encoder_rate,
        }
        return rates.get(part, 1.0)

    def _update_averages(self) -> None:
        # The momentum grows with the steps: a constant one would keep the random start too long.
        steps = tf.cast(self._optimizer.iterations, tf.float32)
        momentum = tf.minimum(self._options.averaging, steps / (steps + 9.0))
        for mean, value in zip(self._averages, self._constraint.trained, strict=True):
            mean.assign_add((1.0 - momentum) * (value - mean))


@contextmanager
def _dropout_generators() -> Iterator[None]:
    """Let the dropout layers that are made have generators of their own, which can be seeded.

    By default they have operators with a hidden state, which cannot be saved or restored.
    """
    settings = tf_keras.backend.experimental
    before = settings.is_tf_random_generator_enabled()
    settings.enable_tf_random_generator()
    try:
        yield
    finally:
        if not before:
            settings.disable_tf_random_generator()


class Constraint(ABC):
    """The relation between the variables that an optimizer updates and the model's weights.

    Between two steps the model's weights satisfy the constraint.  A step is: the gradients of the
    loss by the weights, `map_gradients`, the optimizer's update of `trained`, `project`.

    Attributes:
        trained: The variables that the optimizer updates, and whose running average is kept.
        untrained: Further variables that are part of the training's state.
        ranges: Those of them that go into the checkpoint's `ranges`, by name.
    """

    trained: Sequence[Any]
    untrained: Sequence[Any] = ()
    ranges: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def map_gradients(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """Turn the gradients by the model's trainable weights into those by `trained`."""

    @abstractmethod
    def project(self) -> None:
        """Set the model's weights from `trained`; runs inside a `tf.function`."""

    @abstractmethod
    def tensors(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        """Return the weights that follow from averages of `trained`, by canonical name."""


# Makes the constraint of a model from the number of steps of the training, and the variable that
# counts the steps: 1 after the first.
MakeConstraint: TypeAlias = Callable[[Albert, int, Any], Constraint]


class Unconstrained(Constraint):
    """No constraint: the optimizer updates the model's weights."""

    def __init__(self, model: Albert, steps: int, step: Any) -> None:
        self.trained = model.trainable_variables

    def map_gradients(self, gradients: Sequence[Any]) -> Sequence[Any]:
        return gradients

    def project(self) -> None:
        pass

    def tensors(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        return name_weights(self.trained, averages)


def name_weights(variables: Sequence[Any], values: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return `values`, which are tensors or variables, by the canonical names of `variables`."""
    return {
        canonical_name(variable): value.numpy()
        for variable, value in zip(variables, values, strict=True)
    }


# Mixed precision: the dtype of matrix products in training.


@contextmanager
def mixed_precision(mixed: str) -> Iterator[None]:
    """Build layers that multiply in the dtype of an option, with float32 weights.

    Args:
        mixed: One of `options.PRECISIONS`; `auto` is bfloat16 where the hardware supports it.
    """
    wanted = {"off": "float32", "bfloat16": "mixed_bfloat16"}
    name = wanted[mixed] if mixed in wanted else wanted["bfloat16" if _has_bfloat16() else "off"]
    with keras_settings(name):
        yield


def _has_bfloat16() -> bool:
    """Return whether this machine multiplies bfloat16 faster than float32."""
    if tf.config.list_physical_devices("GPU"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return " amx_bf16" in flags
