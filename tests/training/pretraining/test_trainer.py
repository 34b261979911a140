"""A step of pre-training: its loss, its gradient, and that it teaches a language."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from itertools import islice

import numpy as np
import pytest

from albert_edge.modeling import from_checkpoint
from albert_edge.training.pretraining import PretrainOptions
from albert_edge.training.pretraining.batches import Batches, Position
from albert_edge.training.pretraining.trainer import Trainer, figures
from language import NUMBERS, TOPICS, documents, fresh, words

LENGTH = 24
OPTIONS = PretrainOptions(batch_size=8, max_length=LENGTH, mixed_precision="off")
RATE = 0.01


def _batches(
    count: int, *, size: int = 8, seed: int = 0, of: int = 60
) -> list[dict[str, np.ndarray]]:
    batches = Batches(
        documents(of, seed=seed), words(), batch_size=size, max_length=LENGTH, seed=seed
    )
    return [batch for _, batch in islice(batches.after(Position()), count)]


@cache
def _one_step(**changes: object) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the figures of a first step, and the weights after it."""
    trainer = Trainer(fresh(), dataclasses.replace(OPTIONS, **changes))  # type: ignore[arg-type]
    (batch,) = _batches(1)
    return figures(trainer.step(batch, rate=RATE)), trainer.tensors()


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_who_knows_nothing_guesses() -> None:
    found, _ = _one_step()
    # First weights are small but not zero: the logits are a tenth or so.
    assert found["mlm_loss"] == pytest.approx(np.log(fresh().config.vocab_size), abs=0.2)
    assert found["sop_loss"] == pytest.approx(np.log(2), abs=0.1)
    assert found["loss"] == pytest.approx(found["mlm_loss"] + found["sop_loss"], rel=1e-5)


def test_the_figures_are_those_of_the_model_at_the_hidden_places() -> None:
    """What a plain run of the whole model says, with the figures worked out in NumPy."""
    trainer = Trainer(fresh(), OPTIONS)
    batches = _batches(2)
    found = trainer.examine(batches)
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


def test_a_step_is_the_same_in_parts() -> None:
    whole_found, whole = _one_step()
    found, parts = _one_step(accumulate=4)
    for name, value in whole_found.items():
        assert found[name] == pytest.approx(value, rel=1e-5)
    _assert_close(parts, whole, share=1e-3)


def test_bfloat16_steps_where_float32_does() -> None:
    exact_found, exact = _one_step()
    found, made = _one_step(mixed_precision="bfloat16")
    # bfloat16 keeps eight bits: a rounding is up to 0.4%, and some dozens follow each other.
    assert found["loss"] == pytest.approx(exact_found["loss"], rel=0.02)
    assert all(tensor.dtype == np.float32 for tensor in made.values())
    _assert_close(made, exact, share=0.3)
    assert any((made[name] != exact[name]).any() for name in made)  # it is another computation


def _assert_close(
    made: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], *, share: float
) -> None:
    """Check that two steps from the same weights differ by a share of the step at most.

    A first update is near +1 or -1 times the rate, wherever the gradient is not near zero; there
    rounding decides.  So the two are compared as vectors, not number by number.
    """
    assert made.keys() == expected.keys()
    for name, tensor in fresh().tensors.items():
        step, other = expected[name] - tensor, made[name] - tensor
        if name.endswith("key/bias"):
            continue  # softmax does not see it: its gradient is nothing but rounding
        assert np.linalg.norm(step) > 0, name
        assert np.linalg.norm(other - step) <= share * np.linalg.norm(step), name


def test_a_batch_without_hidden_words_teaches_the_order() -> None:
    trainer = Trainer(fresh(), OPTIONS)
    (batch,) = _batches(1)
    found = figures(trainer.step({**batch, "weights": 0 * batch["weights"]}, rate=RATE))
    assert found["mlm_loss"] == found["mlm_accuracy"] == 0
    assert found["loss"] == found["sop_loss"] > 0
    assert all(np.isfinite(tensor).all() for tensor in trainer.tensors().values())


@pytest.fixture(scope="module")
def learned() -> tuple[Trainer, dict[str, float]]:
    """A model that was taught the made-up language, and how it does on text held out."""
    trainer = Trainer(fresh(), dataclasses.replace(OPTIONS, batch_size=32))
    for index, batch in enumerate(_batches(300, size=32, of=400)):
        trainer.step(batch, rate=0.02 * min(1.0, (index + 1) / 20, (300 - index) / 280))
    return trainer, trainer.examine(_batches(4, size=32, seed=1, of=200))


def test_a_tiny_model_learns_a_language(learned: tuple[Trainer, dict[str, float]]) -> None:
    _, found = learned
    # Two words of three are the document's topic, which the rest of it tells; whoever knows nothing
    # but how frequent words are gets one of twelve right.
    assert len(TOPICS) == 8
    assert len(NUMBERS) == 6
    assert found["mlm_accuracy"] > 0.6
    assert found["sop_accuracy"] > 0.9


def test_a_snapshot_is_all_there_is(learned: tuple[Trainer, dict[str, float]]) -> None:
    trainer, found = learned
    again = Trainer(fresh(), dataclasses.replace(OPTIONS, batch_size=32))
    again.restore(trainer.snapshot())
    assert again.done == trainer.done == 300
    assert again.examine(_batches(4, size=32, seed=1, of=200)) == found
    (batch,) = _batches(1, size=32, seed=2)
    for one in (trainer, again):
        one.step(batch, rate=RATE)
    for name, tensor in trainer.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], tensor)
