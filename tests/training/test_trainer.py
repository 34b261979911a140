"""Training steps: the rates of parts, the running average, and constraints on the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.examples import Examples
from albert_edge.modeling.layers import tensors
from albert_edge.training.batching import Batch
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.tasks.classification import ClassificationObjective
from albert_edge.training.trainer import Trainer, Unconstrained, name_weights

IDS = np.array([[2, 5, 9, 3], [2, 8, 3, 0]], np.int32)
BATCH = Batch(
    rows=np.array([0, 1]),
    input_ids=IDS,
    token_type_ids=np.zeros_like(IDS),
    attention_mask=np.int32(IDS > 0),
)
TARGETS = np.float32([[1, 0, 0], [0, 0, 1]])


def trainer_of(model: Any, **options: Any) -> Trainer:
    objective = ClassificationObjective(
        Examples(
            kind="classification",
            ids=["0", "1"],
            places=["0", "1"],
            inputs=[{"text": "a"}] * 2,
            targets=["negative", "positive"],
            labels=model.config.labels,
        )
    )
    start = Checkpoint(config=model.config, task=model.task, tensors=tensors(model))
    return Trainer(
        start, objective, options=FinetuneOptions(**options), steps=4, constrain=Unconstrained
    )


def test_a_rate_of_zero_freezes_a_part_and_a_state_goes_on(
    tiny_albert: Callable[..., Any],
) -> None:
    drops = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
    model = tiny_albert("classification", **dict.fromkeys(drops, 0.0))
    trainer = trainer_of(model, embeddings_rate=0.0, encoder_rate=0.5, averaging=0.0)
    before = trainer.tensors()
    loss, accuracy = trainer.step(BATCH, TARGETS, learning_rate=0.01)
    assert np.isfinite(loss)
    assert accuracy in (0.0, 0.5, 1.0)
    after = trainer.tensors()  # without averaging they are the weights themselves
    moved = {name: np.abs(after[name] - before[name]).max() for name in before}
    assert {name for name, most in moved.items() if most == 0} >= {
        name for name in moved if name.startswith("embeddings/")
    }
    # A first step of Adam is as long as the learning rate; the layers take half of it.
    assert moved["classifier/bias"] == pytest.approx(0.01, rel=0.01)
    assert moved["encoder/group_0/layer_0/ffn/output/bias"] == pytest.approx(0.005, rel=0.01)
    assert trainer.ranges() == {}
    saved = trainer.get_state()
    expected = trainer.step(BATCH, TARGETS, learning_rate=0.01)
    trainer.set_state(saved)
    for name, values in trainer.tensors().items():
        np.testing.assert_array_equal(values, after[name])
    assert trainer.step(BATCH, TARGETS, learning_rate=0.01)[0] == pytest.approx(expected[0])


def test_values_are_named_as_their_variables() -> None:
    with tf.name_scope("a/"):
        variables = [tf.Variable([1.0], name="b"), tf.Variable([2.0], name="c")]
    named = name_weights(variables, [tf.constant([3.0]), tf.Variable([4.0])])
    assert {name: values.tolist() for name, values in named.items()} == {"a/b": [3.0], "a/c": [4.0]}


def test_without_a_constraint_gradients_and_weights_stay_as_they_are() -> None:
    @dataclasses.dataclass
    class Model:
        trainable_variables: list[Any]

    with tf.name_scope("a/"):
        model = Model([tf.Variable([1.0], name="b")])
    free = Unconstrained(model, 10, None)  # type: ignore[arg-type]
    assert free.map_gradients([5.0]) == [5.0]
    free.project()
    assert model.trainable_variables[0].numpy().tolist() == [1.0]
    assert free.tensors([tf.constant([7.0])])["a/b"].tolist() == [7.0]
