from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.training.compression.compress import compress
from albert_edge.training.compression.int8_weights import is_compressible
from albert_edge.training.compression.methods import OPTIONS, PATTERNS, Prune
from albert_edge.training.compression.prune import _schedule
from stored import assert_stored, stored_matrices

FAST = dataclasses.replace(
    OPTIONS, epochs=6, batch_tokens=256, learning_rate=3e-3, max_length=32, averaging=0.9
)


@pytest.fixture(scope="module", params=list(PATTERNS))
def pruned(
    request: pytest.FixtureRequest, toy_model: Path, toy_table: Path
) -> tuple[str, Checkpoint]:
    start = read_checkpoint(toy_model)
    data = read_examples(toy_table, "classification", start.config.labels, EvaluateOptions())
    method = Prune(pattern=request.param)
    *_, last = compress(start, data, method=method, dev=data, options=FAST)
    assert last.dev_accuracy == 1.0
    return request.param, last.checkpoint


def test_half_of_every_matrix_is_zero_and_nothing_else(pruned: tuple[str, Checkpoint]) -> None:
    pattern, checkpoint = pruned
    matrices = 0
    for name, values in checkpoint.tensors.items():
        if is_compressible(name):
            matrices += 1
            # A table's rows may be no multiple of 4: the rest of a column keeps up to two more.
            spare = 2 / min(values.shape) if pattern == "2:4" else 1 / values.size
            assert (values == 0).mean() == pytest.approx(0.5, abs=spare), name
        elif name.endswith("kernel"):
            assert (values != 0).all()
    assert matrices == 10


def test_zeros_lie_in_their_pattern(pruned: tuple[str, Checkpoint]) -> None:
    pattern, checkpoint = pruned
    kernel = checkpoint.tensors["encoder/group_0/layer_0/ffn/output/kernel"]
    zeros = (kernel.T == 0).reshape(32, -1, 4).sum(axis=-1)  # as the .tflite stores it, in fours
    expected = {"unstructured": {0, 1, 2, 3, 4}, "2:4": {2}, "block": {0, 4}}
    assert set(np.unique(zeros)) == expected[pattern]


def test_the_int8_file_holds_these_zeros(pruned: tuple[str, Checkpoint]) -> None:
    _, checkpoint = pruned
    assert_stored(checkpoint, off=1)
    kernel = checkpoint.tensors["encoder/group_0/layer_0/ffn/output/kernel"]
    codes = next(codes for codes in stored_matrices(checkpoint) if codes.shape == kernel.T.shape)
    assert (codes[kernel.T == 0] == 0).all()


@given(st.integers(1, 5000), st.floats(0.01, 0.99))
def test_the_last_update_comes_in_time_and_is_whole(steps: int, sparsity: float) -> None:
    schedule = _schedule(steps, sparsity)
    due, share = schedule(schedule.end_step)
    assert 1 <= schedule.end_step <= steps
    assert bool(due)
    assert float(share) == pytest.approx(sparsity)
