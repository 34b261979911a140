"""What the weights of a model have to keep to while it is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from albert_edge.modeling import Albert
from albert_edge.modeling.variables import canonical_name

__all__ = ["Constrain", "Constraint", "Free", "name_weights"]


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
Constrain: TypeAlias = Callable[[Albert, int, Any], Constraint]


class Free(Constraint):
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
