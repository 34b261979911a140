"""Layers with canonical names, and the values of variables by name."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.config import ACTIVATIONS, AlbertConfig
from albert_edge.errors import CheckpointError
from albert_edge.modeling.layers import activation, assign, dense, layer_norm, tensors

CONFIG = AlbertConfig(layer_norm_eps=0.5, initializer_range=0.25)


def layers() -> Any:
    made = [dense("a/b/c", 3, 2, CONFIG), layer_norm("a/norm", 4, CONFIG)]
    return SimpleNamespace(weights=[variable for layer in made for variable in layer.weights])


def test_variables_are_named_by_their_path() -> None:
    assert {name: values.shape for name, values in tensors(layers()).items()} == {
        "a/b/c/kernel": (3, 2),
        "a/b/c/bias": (2,),
        "a/norm/gamma": (4,),
        "a/norm/beta": (4,),
    }


def test_weights_begin_as_the_configuration_says() -> None:
    kernel = dense("a", 400, 100, CONFIG).kernel.numpy()
    assert np.abs(kernel).max() <= 2 * 0.25  # a truncated normal distribution, cut at two
    # Cut at two standard deviations, a normal distribution keeps 0.88 of its own.
    assert kernel.std() == pytest.approx(0.88 * 0.25, rel=0.02)
    norm = layer_norm("a", 2, CONFIG)
    values = np.array([[[1.0, 3.0]]], np.float32)  # of variance 1
    np.testing.assert_allclose(norm(values)[0, 0], np.array([-1, 1]) / np.sqrt(1.5), rtol=1e-6)


def test_what_is_assigned_is_what_there_is() -> None:
    model = layers()
    values = {name: np.full(old.shape, 3, np.float32) for name, old in tensors(model).items()}
    assign(model, values)
    assert all((new == 3).all() for new in tensors(model).values())


def test_one_error_lists_every_offender_and_nothing_is_changed() -> None:
    model = layers()
    before = tensors(model)
    values = {"a/b/c/kernel": np.zeros((2, 3)), "a/norm/gamma": np.zeros(4), "more": np.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        assign(model, values)
    assert str(caught.value) == (
        "the weights do not fit the model: no value for a/b/c/bias; no value for a/norm/beta; "
        "no variable for more; a/b/c/kernel has shape [2, 3], expected [3, 2]."
    )
    for name, old in tensors(model).items():
        np.testing.assert_array_equal(old, before[name])


def test_activations_are_the_functions_of_their_names() -> None:
    points = np.linspace(-4, 4, 33)
    exact = np.array([x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in points])
    tanh = 0.5 * points * (1 + np.tanh(np.sqrt(2 / np.pi) * (points + 0.044715 * points**3)))
    for name in ACTIVATIONS:
        want = {"relu": np.maximum(points, 0), "gelu": exact}.get(name, tanh)
        found = activation(name, tf.constant(points, tf.float64))
        # TensorFlow holds the constants of GELU in float32.
        np.testing.assert_allclose(found, want, atol=1e-8, err_msg=name)
    assert np.abs(exact - tanh).max() > 1e-5  # the two forms of GELU can be told apart
