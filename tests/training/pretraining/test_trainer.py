"""A step of pre-training: its loss, its gradient, and that it teaches a language."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest

from albert_edge.modeling import from_checkpoint
from albert_edge.training.pretraining.masking import Cursor, PretrainBatches
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.trainer import PretrainTrainer, mean_metrics
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
