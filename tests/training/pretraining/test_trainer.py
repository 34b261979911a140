"""A step of pre-training: its loss, its gradient, and that it teaches a language."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from itertools import islice
from resource import RUSAGE_SELF, getpagesize, getrusage
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.modeling import from_checkpoint
from albert_edge.training.pretraining.masking import Cursor, PretrainBatches
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.trainer import Lamb, PretrainTrainer, mean_metrics
from language import NUMBERS, TOPICS, documents, fresh, words

LENGTH = 24
SIZE = 32
OPTIONS = PretrainOptions(batch_size=SIZE, max_length=LENGTH, mixed_precision="off")
RATE = 0.01


def _batches(count: int, *, seed: int = 0, of: int = 200) -> list[dict[str, np.ndarray]]:
    batches = PretrainBatches(
        documents(of, seed=seed), words(), batch_size=SIZE, max_length=LENGTH, seed=seed
    )
    return [batch for _, batch in islice(batches.after(Cursor()), count)]


class _FirstStep:
    """A trainer that made one step; the figures and the gradient of that step."""

    def __init__(self, **changes: Any) -> None:
        self.trainer = PretrainTrainer(fresh(), dataclasses.replace(OPTIONS, **changes))
        (batch,) = _batches(1)
        self.figures = mean_metrics(self.trainer.step(batch, rate=RATE))
        weights = self.trainer.tensors()
        # Behind the weights and the number of steps; the first mean is a tenth of the gradient.
        means = self.trainer.get_state()[len(weights) + 1 :][: len(weights)]
        self.gradient = [10 * mean for mean in means]


@pytest.fixture(scope="module")
def plain() -> _FirstStep:
    return _FirstStep()


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_who_knows_nothing_guesses(plain: _FirstStep) -> None:
    found = plain.figures
    # First weights are small but not zero: the logits are a tenth or so.
    assert found["mlm_loss"] == pytest.approx(np.log(fresh().config.vocab_size), abs=0.2)
    assert found["sop_loss"] == pytest.approx(np.log(2), abs=0.1)
    assert found["loss"] == pytest.approx(found["mlm_loss"] + found["sop_loss"], rel=1e-5)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc to keep memory")
def test_memory_that_is_freed_is_kept_for_the_next_step(plain: _FirstStep) -> None:
    def count_faults() -> int:
        before = getrusage(RUSAGE_SELF).ru_minflt
        blocks = [np.ones(3 << 17) for _ in range(16)]  # 48 MB
        del blocks
        return getrusage(RUSAGE_SELF).ru_minflt - before

    count_faults()
    assert count_faults() < 0.1 * (48 << 20) / getpagesize()


def test_the_figures_are_those_of_the_model_at_the_hidden_places() -> None:
    """What a plain run of the whole model says, with the figures worked out in NumPy."""
    trainer = PretrainTrainer(fresh(), OPTIONS)
    batches = _batches(2)
    found = trainer.evaluate(batches)
    model = from_checkpoint(fresh())
    losses, right, orders, right_orders = [], [], [], []
    for batch in batches:
        outputs = model(
            {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
        )
        words_said = _log_softmax(outputs["prediction_logits"].numpy())
        order_said = _log_softmax(outputs["sop_logits"].numpy())
        for row, column in np.argwhere(batch["weights"] > 0):
            place, target = batch["places"][row, column], batch["targets"][row, column]
            losses.append(-words_said[row, place, target])
            right.append(words_said[row, place].argmax() == target)
        orders += [-said[order] for said, order in zip(order_said, batch["order"], strict=True)]
        right_orders += (order_said.argmax(axis=-1) == batch["order"]).tolist()
    # float32 sums in another order.
    assert found["mlm_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["mlm_accuracy"] == pytest.approx(np.mean(right), rel=1e-5)
    assert found["sop_loss"] == pytest.approx(np.mean(orders), rel=1e-5)
    assert found["sop_accuracy"] == pytest.approx(np.mean(right_orders), rel=1e-5)
    assert found["loss"] == pytest.approx(np.mean(losses) + np.mean(orders), rel=1e-5)
    assert trainer.done == 0  # nothing was learned
    for name, tensor in trainer.tensors().items():
        np.testing.assert_array_equal(tensor, fresh().tensors[name])


def test_a_step_is_the_same_in_parts(plain: _FirstStep) -> None:
    parts = _FirstStep(accumulate=2)
    for name, value in plain.figures.items():
        assert parts.figures[name] == pytest.approx(value, rel=1e-5)
    # The same float32 numbers, added up in another order.
    _assert_close(parts.gradient, plain.gradient, share=1e-4)


def test_bfloat16_steps_where_float32_does(plain: _FirstStep) -> None:
    rough = _FirstStep(mixed_precision="bfloat16")
    # bfloat16 keeps eight bits: a rounding is up to 0.4%, and some dozens follow each other.
    assert rough.figures["loss"] == pytest.approx(plain.figures["loss"], rel=0.01)
    _assert_close(rough.gradient, plain.gradient, share=0.1)
    assert rough.figures["loss"] != plain.figures["loss"]  # it is another computation
    assert all(tensor.dtype == np.float32 for tensor in rough.trainer.tensors().values())


def _assert_close(
    made: Sequence[np.ndarray], expected: Sequence[np.ndarray], *, share: float
) -> None:
    """Check that each variable's gradient is off by a share of its size at most.

    And by a thousandth of that share of the whole gradient's: what is so small is rounding, as with
    the keys' biases, which softmax does not see.
    """
    whole = np.linalg.norm([np.linalg.norm(one) for one in expected])
    assert 0.5 < whole <= 1.0001  # gradients are cut to a norm of 1
    for one, other in zip(made, expected, strict=True):
        limit = share * (np.linalg.norm(other) + 1e-3 * whole)
        assert np.linalg.norm(one - other) <= limit


def test_a_batch_without_hidden_words_teaches_the_order(plain: _FirstStep) -> None:
    (batch,) = _batches(1)
    sums = plain.trainer.step({**batch, "weights": 0 * batch["weights"]}, rate=RATE)
    found = mean_metrics(sums)
    assert found["mlm_loss"] == found["mlm_accuracy"] == 0
    assert found["loss"] == found["sop_loss"] > 0
    assert all(np.isfinite(tensor).all() for tensor in plain.trainer.tensors().values())


@pytest.fixture(scope="module")
def learned() -> tuple[PretrainTrainer, dict[str, float]]:
    """A model that was taught the made-up language, and how it does on text held out."""
    trainer = PretrainTrainer(fresh(), OPTIONS)
    for index, batch in enumerate(_batches(300, of=400)):
        trainer.step(batch, rate=0.02 * min(1.0, (index + 1) / 20, (300 - index) / 280))
    return trainer, trainer.evaluate(_batches(4, seed=1))


def test_a_tiny_model_learns_a_language(learned: tuple[PretrainTrainer, dict[str, float]]) -> None:
    _, found = learned
    # Two words of three are the document's topic, which the rest of it tells; whoever knows nothing
    # but how frequent words are gets one of twelve right.
    assert len(TOPICS) == 8
    assert len(NUMBERS) == 6
    assert found["mlm_accuracy"] > 0.6
    assert found["sop_accuracy"] > 0.9


def test_a_snapshot_is_all_there_is(
    learned: tuple[PretrainTrainer, dict[str, float]], plain: _FirstStep
) -> None:
    trainer, found = learned
    again = plain.trainer  # made in the same way, and gone another
    again.set_state(trainer.get_state())
    assert again.done == trainer.done == 300
    assert again.evaluate(_batches(4, seed=1)) == found
    (batch,) = _batches(1, seed=2)
    for one in (trainer, again):
        one.step(batch, rate=RATE)
    for name, tensor in trainer.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], tensor)


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
