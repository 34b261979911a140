"""Build Keras layers with canonical names, and get and set the values of variables by name.

A variable's canonical name is its path in the model, such as
`encoder/group_0/layer_0/attention/query/kernel`; `albert_edge.checkpoints.tensor_names` maps every
checkpoint format to these names.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError, ConfigError

_SETTINGS = threading.RLock()  # Keras's settings are the process's, not the thread's
_chosen: list[str] = []  # the policies of the enclosing `keras_settings`


@contextmanager
def keras_settings(policy: str = "") -> Iterator[None]:
    """Build layers and optimizers in float32, whatever the settings of the host program are.

    Its `floatx` and its global policy are as before afterwards.  What is built keeps its types.

    Args:
        policy: The dtype policy of layers; that of the enclosing `keras_settings` if left out, or
            else float32.

    Raises:
        ConfigError: TensorFlow does not execute eagerly, as TensorFlow 1 did not.
    """
    check_eager()
    keras, precision = tf_keras.backend, tf_keras.mixed_precision
    with _SETTINGS:
        policy = policy or (_chosen[-1] if _chosen else "float32")
        floatx, before = keras.floatx(), precision.global_policy()
        is_set = before is precision.global_policy()  # or made of floatx anew each time
        keras.set_floatx("float32")
        precision.set_global_policy(policy)
        _chosen.append(policy)
        try:
            yield
        finally:
            _chosen.pop()
            keras.set_floatx(floatx)
            precision.set_global_policy(before if is_set else None)


def check_eager() -> None:
    """Raise a ConfigError where TensorFlow does not execute eagerly, as TensorFlow 1 did not."""
    if not tf.executing_eagerly():
        raise ConfigError(
            "TensorFlow does not execute eagerly here, which albert_edge needs: call it outside of "
            "a tf.Graph and a tf.function, and in a process that does not call "
            "tf.compat.v1.disable_eager_execution or disable_v2_behavior."
        )


def dense(
    path: str, inputs: int, units: int, config: AlbertConfig, *, act: str | None = None
) -> Any:
    """Build a dense layer with the variables `path/kernel` [inputs, units] and `path/bias`."""
    initializer = tf_keras.initializers.TruncatedNormal(stddev=config.initializer_range)
    layer = tf_keras.layers.Dense(
        units, activation=act, kernel_initializer=initializer, name=path.rsplit("/", 1)[-1]
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
    """Return the values of all variables of `model` by canonical name.

    Raises:
        ConfigError: TensorFlow does not execute eagerly.
    """
    check_eager()
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
