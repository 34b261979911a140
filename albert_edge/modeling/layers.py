"""Build Keras layers with canonical names, and get and set the values of variables by name.

A variable's canonical name is its path in the model, such as
`encoder/group_0/layer_0/attention/query/kernel`; `albert_edge.checkpoints.tensor_names` maps every
checkpoint format to these names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError

__all__ = ["activation", "assign", "canonical_name", "dense", "layer_norm", "tensors"]


def dense(path: str, inputs: int, units: int, config: AlbertConfig) -> Any:
    """Build a dense layer with the variables `path/kernel` [inputs, units] and `path/bias`."""
    initializer = tf_keras.initializers.TruncatedNormal(stddev=config.initializer_range)
    layer = tf_keras.layers.Dense(
        units, kernel_initializer=initializer, name=path.rsplit("/", 1)[-1]
    )
    with tf.name_scope(f"{path}/"):
        layer.build((None, inputs))
    return layer


def layer_norm(path: str, size: int, config: AlbertConfig) -> Any:
    """Build a layer norm of the last axis with `path/gamma` and `path/beta`, both [size]."""
    layer = tf_keras.layers.LayerNormalization(
        epsilon=config.layer_norm_eps, name=path.rsplit("/", 1)[-1]
    )
    with tf.name_scope(f"{path}/"):
        layer.build((None, None, size))
    return layer


def activation(name: str, values: Any) -> Any:
    """Apply the activation with Hugging Face's name `name`, one of `config.ACTIVATIONS`."""
    if name == "relu":
        return tf.nn.relu(values)
    return tf.nn.gelu(values, approximate=name != "gelu")


def tensors(model: Any) -> dict[str, np.ndarray]:
    """Return the values of all variables of `model` by canonical name."""
    return {canonical_name(variable): variable.numpy() for variable in model.weights}


def assign(model: Any, values: Mapping[str, np.ndarray]) -> None:
    """Set all variables of `model`, strictly.

    Raises:
        CheckpointError: A variable has no value, a value has no variable, or a shape differs; the
            message lists every offender.
    """
    variables = {canonical_name(variable): variable for variable in model.weights}
    problems = [f"no value for {name}" for name in variables if name not in values]
    problems += [f"no variable for {name}" for name in values if name not in variables]
    problems += [
        f"{name} has shape {list(values[name].shape)}, expected {variable.shape.as_list()}"
        for name, variable in variables.items()
        if name in values and values[name].shape != tuple(variable.shape)
    ]
    if problems:
        raise CheckpointError("the weights do not fit the model: " + "; ".join(problems) + ".")
    for name, variable in variables.items():
        variable.assign(values[name])


def canonical_name(variable: Any) -> str:
    """Return the canonical name of a variable."""
    return str(variable.name).removesuffix(":0")
