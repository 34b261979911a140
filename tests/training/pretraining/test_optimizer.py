"""LAMB and AdamW against their papers, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.training.pretraining.trainer import Lamb

SHAPES = {
    "layer/kernel": (5, 3),
    "layer/bias": (3,),
    "norm/gamma": (3,),
    "norm/beta": (3,),
    "embeddings/word_embeddings": (7, 4),
}
DECAYED = ("layer/kernel", "embeddings/word_embeddings")
RATES = (0.02, 0.1, 0.1, 0.05, 0.01)


def _values() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape) for name, shape in SHAPES.items()}


def _gradients() -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    # Of very different sizes: what is divided by its own size does not show it.
    return [
        {name: 10.0 ** random.integers(-4, 3) * random.normal(size=SHAPES[name]) for name in SHAPES}
        for _ in RATES
    ]


def _algorithm_2(*, decay: float, adapt: bool) -> dict[str, np.ndarray]:
    """You et al. 2020, arXiv:1904.00962, algorithm 2, with phi(z) = z."""
    x = _values()
    m = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    v = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for t, (g, eta) in enumerate(zip(_gradients(), RATES, strict=True), start=1):
        for name in SHAPES:
            m[name] = 0.9 * m[name] + 0.1 * g[name]
            v[name] = 0.999 * v[name] + 0.001 * g[name] ** 2
            r = (m[name] / (1 - 0.9**t)) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-6)
            ratio = 1.0
            if name in DECAYED:
                r = r + decay * x[name]
                ratio = np.linalg.norm(x[name]) / np.linalg.norm(r) if adapt else 1.0
            x[name] = x[name] - eta * ratio * r
    return x


def _lamb(
    values: dict[str, np.ndarray], *, decay: float, adapt: bool
) -> tuple[Lamb, list[tf.Variable]]:
    variables = [tf.Variable(value, name=name, dtype=tf.float32) for name, value in values.items()]
    return Lamb(variables, weight_decay=decay, adapt=adapt), variables


@pytest.mark.parametrize("adapt", [True, False], ids=["lamb", "adamw"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_the_papers(adapt: bool, decay: float) -> None:
    lamb, variables = _lamb(_values(), decay=decay, adapt=adapt)
    step = tf.function(lamb.apply)
    for gradients, rate in zip(_gradients(), RATES, strict=True):
        step([tf.constant(one, tf.float32) for one in gradients.values()], tf.constant(rate))
    assert int(lamb.step) == len(RATES)
    for variable, expected in zip(
        variables, _algorithm_2(decay=decay, adapt=adapt).values(), strict=True
    ):
        # float32 against float64: 1 - 0.999 keeps four digits; an update of 0.1 shows it as 1e-5.
        np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("adapt", [True, False], ids=["lamb", "adamw"])
def test_biases_and_normalizations_do_not_decay(adapt: bool) -> None:
    before = _values()
    lamb, variables = _lamb(before, decay=0.5, adapt=adapt)
    lamb.apply([tf.zeros(shape) for shape in SHAPES.values()], 0.1)
    for variable, name in zip(variables, SHAPES, strict=True):
        # Without a gradient the whole update is decay; LAMB's ratio takes its size away.
        left = (1 - 0.1 * (1.0 if adapt else 0.5)) if name in DECAYED else 1.0
        np.testing.assert_allclose(variable.numpy(), left * before[name], rtol=1e-6)


def test_the_size_of_a_variable_sets_the_size_of_its_step() -> None:
    before = {"small/kernel": np.full((2, 2), 0.01), "large/kernel": np.full((2, 2), 100.0)}
    lamb, variables = _lamb(before, decay=0.0, adapt=True)
    lamb.apply([tf.ones((2, 2)), tf.ones((2, 2))], 0.1)
    for variable, value in zip(variables, before.values(), strict=True):
        np.testing.assert_allclose(variable.numpy(), 0.9 * value, rtol=1e-5)


def test_what_is_zero_can_move() -> None:
    lamb, (variable,) = _lamb({"a/kernel": np.zeros((2, 2))}, decay=0.1, adapt=True)
    lamb.apply([tf.zeros((2, 2))], 0.1)
    assert not variable.numpy().any()  # and is no NaN
    lamb.apply([tf.ones((2, 2))], 0.1)
    assert (variable.numpy() < 0).all()


def test_it_goes_on_from_its_variables() -> None:
    def made(again: bool) -> list[np.ndarray]:
        lamb, variables = _lamb(_values(), decay=0.1, adapt=True)
        for at, (gradients, rate) in enumerate(zip(_gradients(), RATES, strict=True)):
            if at == 2 and again:
                kept = [one.numpy() for one in (*variables, *lamb.variables)]
                lamb, variables = _lamb(_values(), decay=0.1, adapt=True)
                for variable, value in zip((*variables, *lamb.variables), kept, strict=True):
                    variable.assign(value)
            lamb.apply([tf.constant(one, tf.float32) for one in gradients.values()], rate)
        return [one.numpy() for one in variables]

    for one, other in zip(made(again=True), made(again=False), strict=True):
        np.testing.assert_array_equal(one, other)
