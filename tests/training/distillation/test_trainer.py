"""A step of distillation: its figures worked out in NumPy, and what it may depend on."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.modeling import from_checkpoint
from albert_edge.training.distillation.texts import TextBatches
from albert_edge.training.distillation.trainer import DistillTrainer, compiled_gelu, pair_layers
from albert_edge.training.init import make_student
from albert_edge.training.pretraining.corpus import encode_documents
from albert_edge.training.pretraining.masking import Arrays, Cursor
from language import language
from training.distillation.samples import OPTIONS, SHAPE, bert, tokenizer


def _batches(count: int) -> list[Arrays]:
    documents = encode_documents(language(60), tokenizer())
    batches = TextBatches(documents, tokenizer(), batch_size=8, max_length=16, seed=0)
    return [batch for _, batch in islice(batches.after(Cursor()), count)]


def _trainer(**changes: object) -> DistillTrainer:
    start = make_student(bert(), SHAPE.of(bert().config), seed=0)
    return DistillTrainer(start, bert(), dataclasses.replace(OPTIONS, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("passes", "layers", "expected"),
    [
        (6, 6, [(at, at) for at in range(6)]),
        (8, 6, [(0, 0), (2, 1), (3, 2), (4, 3), (6, 4), (7, 5)]),
        (2, 3, [(0, 1), (1, 2)]),
        (1, 12, [(0, 11)]),
        (12, 1, [(11, 0)]),
    ],
)
def test_pairs_are_of_the_same_depth(
    passes: int, layers: int, expected: list[tuple[int, int]]
) -> None:
    assert pair_layers(passes, layers) == expected


def _states(model: object, ids: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Return what a prefix of the model computes: its last hidden states."""
    found = []
    for count in range(1, model.config.num_hidden_layers + 1):  # type: ignore[attr-defined]
        hidden = model.embed(ids, np.zeros_like(ids))  # type: ignore[attr-defined]
        bias = -1e4 * (1.0 - mask.astype(np.float32))[:, None, None, :]
        for index in range(count):
            hidden = model.layer(index, hidden, bias)  # type: ignore[attr-defined]
        found.append(hidden.numpy().astype(np.float64))
    return found


def test_the_figures_are_those_of_numpy() -> None:
    trainer = _trainer()
    (batch,) = _batches(1)
    found = trainer.evaluate([batch])
    start = make_student(bert(), SHAPE.of(bert().config), seed=0)
    mask = batch["attention_mask"]
    states = _states(from_checkpoint(start), batch["hidden_ids"], mask)
    taught = _states(from_checkpoint(bert()), batch["input_ids"], mask)
    kernels = [kernel.numpy() for kernel, _ in trainer._projections]  # biases are 0
    tokens = mask.astype(bool)
    distances = []
    for kernel, (own, layer) in zip(kernels, ((0, 1), (1, 2)), strict=True):
        wanted = taught[layer][tokens]
        distances.append(((states[own][tokens] @ kernel - wanted) ** 2).mean() / wanted.var())
    assert found["layers"] == pytest.approx(np.mean(distances), rel=1e-4)
    assert found["last_layer"] == pytest.approx(distances[-1], rel=1e-4)

    def vectors(values: np.ndarray) -> np.ndarray:
        means = (values * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    own, theirs = vectors(states[-1]), vectors(taught[-1])
    likeness = ((own @ own.T - theirs @ theirs.T) ** 2).mean()
    pooled = 1 - (vectors(states[-1] @ kernels[-1]) * theirs).sum(axis=1).mean()
    assert found["similarities"] == pytest.approx(likeness, rel=1e-4)
    assert found["pooled"] == pytest.approx(pooled, rel=1e-4)
    expected = np.mean(distances) + distances[-1] + 20 * likeness + 2 * pooled
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    assert found["tokens"] == mask.sum()


def test_the_teacher_and_padding_stay_and_the_projections_are_state() -> None:
    trainer = _trainer()
    (batch,) = _batches(1)
    before = [one.numpy() for one in trainer._teacher.weights]
    figures = trainer.metrics(trainer.step(batch, rate=1e-3))
    for one, old in zip(trainer._teacher.weights, before, strict=True):
        np.testing.assert_array_equal(one.numpy(), old)
    assert not any(name.startswith("projection") for name in trainer.tensors())
    other = _trainer()
    wide = {name: np.pad(values, ((0, 0), (0, 5))) for name, values in batch.items()}
    # Sums in another order, over more zeros.
    assert other.metrics(other.step(wide, rate=1e-3)) == pytest.approx(figures, rel=1e-5)
    other.set_state(trainer.get_state())
    again = [one.step(batch, rate=1e-3).tolist() for one in (trainer, other)]
    assert again[0] == again[1]


def test_a_part_compares_its_own_texts() -> None:
    (batch,) = _batches(1)
    half = len(batch["input_ids"]) // 2
    parts = [{k: v[at : at + half] for k, v in batch.items()} for at in (0, half)]
    expected = _trainer().evaluate(parts)
    trainer = _trainer(accumulate=2)
    found = trainer.metrics(trainer.step(batch, rate=1e-3))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("exact", [True, False])
def test_gelu_and_its_gradient_are_those_of_tensorflow(exact: bool) -> None:
    values = tf.constant(np.linspace(-9, 9, 1001, dtype=np.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        found, expected = compiled_gelu(exact=exact)(values), tf.nn.gelu(values, not exact)
    # A few units of the last place of numbers up to 9.
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)
    slopes = [tape.gradient(one, values) for one in (found, expected)]
    np.testing.assert_allclose(*slopes, rtol=0, atol=1e-5)
