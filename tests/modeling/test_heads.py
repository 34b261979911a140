"""The heads: the outputs of every task, and the exits of every pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConfigError
from albert_edge.modeling import Albert
from albert_edge.modeling.heads import make_head
from albert_edge.modeling.layers import assign, tensors
from modeling.samples import IDS


def test_an_exit_says_what_a_model_of_so_few_passes_says(tiny_albert: Callable[..., Any]) -> None:
    model = tiny_albert(early_exit=True)
    exits = model.exits({"input_ids": IDS})  # [B, L, C]
    assert exits.shape == (2, 3, 3)
    assert exits.dtype == tf.float32
    last = model({"input_ids": IDS})["logits"]
    # Float32 sums of 32 products around 1, in another order.
    np.testing.assert_allclose(exits[:, -1], last, atol=2e-6)
    weights = tensors(model)
    for index in range(2):
        shallow = dataclasses.replace(model.config, num_hidden_layers=index + 1, early_exit=False)
        cut, columns = Albert(shallow, task="classification"), slice(3 * index, 3 * index + 3)
        own = {name: values for name, values in weights.items() if not name.startswith("exits/")}
        for part in ("kernel", "bias"):
            own[f"classifier/{part}"] = weights[f"exits/{part}"][..., columns]
        assign(cut, own)
        expected = cut({"input_ids": IDS})["logits"]
        np.testing.assert_allclose(exits[:, index], expected, atol=2e-6)


def test_training_sees_every_exit(tiny_albert: Callable[..., Any]) -> None:
    model = tiny_albert(early_exit=True, classifier_dropout_prob=0.0)
    with tf.GradientTape() as tape:
        outputs = model({"input_ids": IDS}, training=True)
        loss = tf.reduce_sum(tf.square(outputs["exit_logits"]))
    assert all(gradient is not None for gradient in tape.gradient(loss, model.trainable_variables))
    np.testing.assert_array_equal(outputs["exit_logits"][:, -1], outputs["logits"])
    np.testing.assert_allclose(outputs["exit_logits"], model.exits({"input_ids": IDS}), atol=2e-6)
    assert set(model({"input_ids": IDS})) == {"logits"}
    assert set(tiny_albert()({"input_ids": IDS}, training=True)) == {"logits"}


def test_early_exit_is_for_classification(tiny_albert: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="question-answering, not for fill-mask"):
        tiny_albert("fill-mask", early_exit=True)


CONFIG = AlbertConfig(
    vocab_size=9,
    embedding_size=3,
    hidden_size=4,
    num_attention_heads=2,
    intermediate_size=5,
    max_position_embeddings=8,
    labels=("a", "b", "c"),
)
HIDDEN = np.random.default_rng(1).standard_normal((2, 5, 4)).astype(np.float32)
TABLE = tf.constant(np.random.default_rng(2).standard_normal((9, 3)), tf.float32)


@pytest.mark.parametrize(
    ("task", "shapes"),
    [
        ("feature-extraction", {"last_hidden_state": (2, 5, 4), "pooler_output": (2, 4)}),
        ("classification", {"logits": (2, 3)}),
        ("token-classification", {"logits": (2, 5, 3)}),
        ("question-answering", {"start_logits": (2, 5), "end_logits": (2, 5)}),
        ("summarization", {"sentence_logits": (2, 5)}),
        ("fill-mask", {"logits": (2, 5, 9)}),
        ("sentence-order", {"sop_logits": (2, 2)}),
        ("pretraining", {"prediction_logits": (2, 5, 9), "sop_logits": (2, 2)}),
    ],
)
def test_outputs_of_every_head(task: str, shapes: dict[str, tuple[int, ...]]) -> None:
    head = make_head(task, CONFIG, table=TABLE)
    assert {name: tuple(values.shape) for name, values in head(HIDDEN).items()} == shapes


def test_an_encoder_without_a_pooler_has_one_output() -> None:
    head = make_head("feature-extraction", CONFIG, table=TABLE, pooler=False)
    outputs = head(HIDDEN)
    assert list(outputs) == ["last_hidden_state"]
    np.testing.assert_array_equal(outputs["last_hidden_state"], HIDDEN)


def test_a_classifier_computes_what_its_weights_say() -> None:
    head = make_head("classification", CONFIG, table=TABLE)
    pooler, classifier = (layer.kernel.numpy() for layer in (head.pooler, head.classifier))
    want = np.tanh(HIDDEN[:, 0] @ pooler) @ classifier  # biases begin at 0
    # Float32 sums of 4 products.
    np.testing.assert_allclose(head(HIDDEN)["logits"], want, atol=1e-6)


def test_words_are_predicted_with_the_table_they_are_looked_up_in() -> None:
    head = make_head("fill-mask", CONFIG, table=TABLE)
    twice = make_head("fill-mask", CONFIG, table=2 * TABLE)
    twice.set_weights(head.get_weights())
    np.testing.assert_allclose(
        twice(HIDDEN)["logits"], 2 * head(HIDDEN)["logits"].numpy(), rtol=1e-5
    )
    assert {tuple(variable.shape) for variable in head.weights} == {(4, 3), (3,), (9,)}


def test_a_head_for_no_task() -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'song'; choose from feature-extraction"):
        make_head("song", CONFIG, table=TABLE)
