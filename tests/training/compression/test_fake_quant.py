"""Fake quantization: values on the grids of their integers, and gradients straight through."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.quantization.recipes import PARTS, get_recipe
from albert_edge.training.compression.fake_quant import (
    FakeQuantizer,
    MovingRange,
    _part_of,
    fake_quantizer_of,
)


def test_a_range_follows_the_extremes_of_all_passes_but_for_padding() -> None:
    single = MovingRange(np.array([[-1.0], [1.0]], np.float32))
    real = tf.constant([[[1.0], [0.0]]])  # [1, 2, 1]
    for most in (2.0, 5.0):
        single.round(tf.constant([[[0.5, most], [-70.0, 70.0]]]), real, watch=True)
    single.move(0.25)
    assert single.bounds.numpy().tolist() == [[-0.75], [2.0]]
    single.round(tf.constant([[[-9.0, 9.0], [0.0, 0.0]]]), real, watch=True)
    single.move(0.0)
    assert single.bounds.numpy().tolist() == [[-0.75], [2.0]]
    by_channel = MovingRange(np.array([[-1.0, -100.0], [1.0, 100.0]], np.float32))
    values = tf.constant([[[0.5, 50.0], [0.0, 0.3]]])
    rounded = by_channel.round(values, 1.0, watch=True).numpy()
    # Steps of 2/255 of each channel's size.
    np.testing.assert_allclose(rounded, [[[0.5, 50.0], [0.0, 0.3]]], atol=0.4)
    assert abs(rounded[0, 0, 0] - 0.5) < 0.004
    by_channel.move(1.0)
    np.testing.assert_allclose(by_channel.bounds, [[0.0, 0.0], [0.5, 50.0]])


KERNEL = "encoder/group_0/layer_0/ffn/output/kernel"


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_weights_are_rounded_to_their_grid(bits: int, axis: int | None) -> None:
    matrix = np.random.default_rng(bits).normal(size=(16, 12)).astype(np.float32)
    found = FakeQuantizer(bits, None, axis).round(tf.constant(matrix)).numpy()
    largest = np.abs(matrix).max(axis=axis, keepdims=True)
    steps = largest / (2 ** (bits - 1) - 1)
    codes = found / steps
    # tfmot computes in float32: codes are whole but for its rounding.
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-3)
    assert np.abs(found - matrix).max() <= 0.501 * steps.max()
    assert np.abs(np.round(codes)).max() == 2 ** (bits - 1) - 1  # the largest keeps its size


def test_a_block_has_a_scale_of_its_own() -> None:
    matrix = np.float32([[1, 7], [0.3, 3], [70, 7], [30, 4]])
    found = FakeQuantizer(4, 2, 0).round(tf.constant(matrix)).numpy()
    # Scales are 1/7, 1, 10 and 1, in bfloat16: 3 digits of 1/7.
    np.testing.assert_allclose(found, [[1, 7], [2 / 7, 3], [70, 7], [30, 4]], rtol=4e-3)
    whole = FakeQuantizer(4, None, 0).round(tf.constant(matrix)).numpy()
    assert whole[0, 0] == whole[1, 0] == 0  # beside 70, with one scale


def test_gradients_pass_straight_through() -> None:
    weight = tf.Variable(np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(FakeQuantizer(4, 2, 0).round(weight) * 3.0)
    inside = tape.gradient(total, weight).numpy()
    # The ends of a range may fall outside of it by the rounding of its scale.
    assert set(np.unique(inside)) <= {0.0, 3.0}
    assert (inside == 3.0).mean() > 0.5


@pytest.mark.parametrize(
    ("name", "quantize", "kept"),
    [
        ("embeddings/layer_norm/gamma", "int4", True),
        ("encoder/group_0/layer_0/ffn/output/bias", "int4", True),
        (KERNEL, "float32", True),
        (KERNEL, "int8-full", False),
        (KERNEL, "int4", False),
        ("embeddings/word_embeddings", "int4", False),
    ],
)
def test_only_matrices_of_the_recipe_are_rounded(name: str, quantize: str, kept: bool) -> None:
    found = fake_quantizer_of(name, (128, 64), get_recipe(quantize))
    assert (found is None) == kept


def test_parts_of_weights() -> None:
    names = ("query", "key", "value")
    parts = {_part_of(f"encoder/group_1/layer_0/attention/{name}/kernel") for name in names}
    assert parts == {"layer.attention_query_key_value"}
    assert _part_of(KERNEL) == "layer.ffn_output"
    assert _part_of("embeddings/word_embeddings") == "embed.word_embeddings"
    assert _part_of("pooler/kernel") == "head.pooler"
    assert parts | {_part_of(KERNEL), "embed.word_embeddings", "head.pooler"} <= set(PARTS)
