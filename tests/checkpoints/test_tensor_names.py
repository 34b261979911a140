"""Every tensor has its own name and shape, in every format."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.init import count_parameters
from albert_edge.checkpoints.tensor_names import HEADS, head_names, tensor_names
from albert_edge.config import AlbertConfig, preset
from checkpoints.files import PARITY


def test_tensors_have_the_canonical_names_and_shapes() -> None:
    checkpoint = read_checkpoint(PARITY / "inner_two_classification")
    expected = {t.name: t.shape for t in tensor_names(checkpoint.config, checkpoint.task)}
    assert {name: values.shape for name, values in checkpoint.tensors.items()} == expected
    assert {values.dtype for values in checkpoint.tensors.values()} == {np.dtype(np.float32)}
    assert all(values.flags.c_contiguous for values in checkpoint.tensors.values())


def test_names_are_distinct() -> None:
    config = preset("albert-base-v2")
    names = tensor_names(config, "classification")
    assert len({tensor.name for tensor in names}) == len(names) == 29 - 2
    assert len({tensor.huggingface for tensor in names}) == len(names)
    assert sum(math.prod(tensor.shape) for tensor in names) == count_parameters(
        config, "classification"
    )


CONFIG = AlbertConfig(
    vocab_size=11,
    embedding_size=3,
    hidden_size=4,
    num_attention_heads=2,
    intermediate_size=5,
    num_hidden_layers=4,
    num_hidden_groups=2,
    inner_group_num=2,
    labels=("a", "b", "c"),
)


def test_names_in_every_format_by_hand() -> None:
    # The names that transformers, Google's ALBERT and the model garden write.
    names = {tensor.name: tensor for tensor in tensor_names(CONFIG, "pretraining")}
    query = names["encoder/group_1/layer_0/attention/query/kernel"]
    layer = "albert.encoder.albert_layer_groups.1.albert_layers.0"
    assert query.name_in("huggingface") == (f"{layer}.attention.query.weight", True)
    assert query.name_in("tensorflow1") == (
        "bert/encoder/transformer/group_1/inner_group_0/attention_1/self/query/kernel",
        False,
    )
    assert query.name_in("name") == (query.name, False)
    output = names["encoder/group_0/layer_0/attention/output/kernel"]
    assert output.tensorflow2 == "transformer/self_attention/attention_output/kernel"
    assert names["pooler/bias"].tensorflow2 == "pooler_transform/bias"
    order = names["sop_classifier/kernel"]
    assert order.name_in("tensorflow1") == ("cls/seq_relationship/output_weights", True)
    assert order.name_in("huggingface") == ("sop_classifier.classifier.weight", True)


def test_shapes_follow_from_the_configuration() -> None:
    shapes = {tensor.name: tensor.shape for tensor in tensor_names(CONFIG, "fill-mask")}
    assert shapes["embeddings/word_embeddings"] == (11, 3)
    assert shapes["embeddings/projection/kernel"] == (3, 4)
    assert shapes["encoder/group_1/layer_1/ffn/intermediate/kernel"] == (4, 5)
    assert shapes["encoder/group_1/layer_1/ffn/output/kernel"] == (5, 4)
    assert shapes["predictions/bias"] == (11,)
    exits = head_names(
        dataclasses.replace(CONFIG, num_hidden_groups=1, early_exit=True), "classification"
    )
    assert {t.name: t.shape for t in exits}["exits/kernel"] == (4, 3 * 3)  # of all passes but one


@pytest.mark.parametrize("task", HEADS)
def test_a_head_adds_its_own_parts_only(task: str) -> None:
    names = {tensor.name for tensor in tensor_names(CONFIG, task)}
    head = {tensor.name for tensor in head_names(CONFIG, task)}
    assert head < names
    assert {name.partition("/")[0] for name in names - head} == {"embeddings", "encoder"}
    assert {name.partition("/")[0] for name in head} == set(HEADS[task]) - {"exits"}
    assert head_names(CONFIG, "feature-extraction", pooler=False) == []
