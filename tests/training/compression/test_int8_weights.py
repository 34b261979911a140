"""Which matrices are compressed, and their int8 codes in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from albert_edge.checkpoints import read_checkpoint
from albert_edge.training.compression.int8_weights import (
    INT8_QMAX,
    describe_matrix,
    folded_scale,
    int8_codes,
    is_compressible,
)


def test_what_is_left_alone(toy_model: Path) -> None:
    names = read_checkpoint(toy_model).tensors
    kept = {name for name in names if names[name].ndim == 2 and not is_compressible(name)}
    assert kept == {"classifier/kernel", "embeddings/token_type_embeddings"}


KERNEL = "encoder/group_0/layer_0/attention/query/kernel"
INNER = "encoder/group_0/layer_1/ffn/intermediate/kernel"
TABLE = "embeddings/word_embeddings"
MATRICES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-100, 100, width=32),
)


@given(MATRICES)
def test_codes_are_within_half_a_step_of_the_weights(matrix: np.ndarray) -> None:
    for name, axis in ((KERNEL, 0), (TABLE, None)):
        codes = int8_codes({name: matrix}, name)
        largest = np.abs(matrix).max(axis=axis, keepdims=True)
        steps = np.maximum(largest, 1e-30) / INT8_QMAX
        assert codes.dtype == np.int8
        assert np.abs(codes.astype(int)).max() <= 127
        # float32 divisions round: a little more than half a step.
        assert (np.abs(codes * steps - matrix) <= 0.501 * steps + 1e-30).all()


@given(MATRICES, st.sampled_from([0.25, 2.0, 1024.0]))
def test_codes_do_not_depend_on_the_size_of_the_weights(matrix: np.ndarray, factor: float) -> None:
    one, other = (int8_codes({KERNEL: weights}, KERNEL) for weights in (matrix, matrix * factor))
    if (np.abs(matrix).max(axis=0) > 1e-30).all():  # no float32 becomes subnormal
        np.testing.assert_array_equal(one, other)


def test_a_folded_gamma_counts() -> None:
    matrix = np.float32([[1.0, 2.0], [1.0, 1.0]])
    gamma = folded_scale(INNER)
    assert gamma == "encoder/group_0/layer_1/attention/layer_norm/gamma"
    codes = int8_codes({INNER: matrix, gamma: np.float32([1.0, 4.0])}, INNER)
    # The products are [1, 2] and [4, 4], of which 4 becomes 127.
    assert codes.tolist() == [[32, 64], [127, 127]]


@pytest.mark.parametrize(
    ("name", "gamma"),
    [
        ("embeddings/projection/kernel", "embeddings/layer_norm/gamma"),
        ("encoder/group_1/layer_0/attention/key/kernel", None),  # its input is another stage's
        (
            "encoder/group_1/layer_2/attention/key/kernel",
            "encoder/group_1/layer_1/ffn/layer_norm/gamma",
        ),
        ("encoder/group_1/layer_2/attention/output/kernel", None),
        ("encoder/group_1/layer_2/ffn/output/kernel", None),
        ("pooler/kernel", None),
    ],
)
def test_what_the_converter_folds(name: str, gamma: str | None) -> None:
    assert folded_scale(name) == gamma


def test_figures_of_a_matrix() -> None:
    matrix = np.float32([[0, 1, -1], [0, 0, 0.5]])
    found = describe_matrix({KERNEL: matrix}, KERNEL)
    assert found == {"numbers": 6, "sparsity": 0.5, "int8_codes": 4}  # 0, 127, -127 and 64
