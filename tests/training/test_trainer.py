"""Training steps: the rates of parts, the running average, and constraints on the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.examples import Examples
from albert_edge.modeling.layers import tensors
from albert_edge.training.batching import Batch
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.tasks.classification import ClassificationObjective
from albert_edge.training.trainer import Trainer, Unconstrained, mixed_precision, name_weights

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


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_a_step_is_traced_once(
    tiny_albert: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    traced = []
    train = Trainer._train
    monkeypatch.setattr(Trainer, "_train", lambda *given: traced.append(1) or train(*given))
    trainer = trainer_of(tiny_albert("classification", hidden_dropout_prob=rate))
    for _ in range(2):
        trainer.step(BATCH, TARGETS, learning_rate=0.01)
    assert len(traced) == 1


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


def policy() -> str:
    return str(tf_keras.mixed_precision.global_policy().name)


def test_products_are_bfloat16_and_weights_float32() -> None:
    with mixed_precision("bfloat16"):
        mixed = tf_keras.layers.Dense(2)
    plain = tf_keras.layers.Dense(2)
    values = tf.ones([1, 3])
    assert (mixed(values).dtype, mixed.kernel.dtype) == (tf.bfloat16, tf.float32)
    assert plain(values).dtype == tf.float32


@pytest.mark.parametrize("option", ["off", "bfloat16", "auto"])
def test_what_was_set_before_is_set_again(option: str) -> None:
    before = policy()
    with pytest.raises(KeyboardInterrupt), mixed_precision(option):
        raise KeyboardInterrupt
    assert policy() == before


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("flags : sse2 amx_bf16 avx", "mixed_bfloat16"),
        ("flags : avx512_bf16", "float32"),
        (None, "float32"),
    ],
)
def test_auto_asks_the_processor(
    flags: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path, encoding: str) -> str:
        assert str(path) == "/proc/cpuinfo"
        if flags is None:
            raise FileNotFoundError
        return flags

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [])
    with mixed_precision("auto"):
        assert policy() == name
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["GPU:0"])
    with mixed_precision("auto"):
        assert policy() == "mixed_bfloat16"
