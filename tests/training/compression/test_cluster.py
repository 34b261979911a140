from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.training.compression.cluster import Codebook, nearest
from albert_edge.training.compression.compress import compress
from albert_edge.training.compression.int8_weights import int8_codes, is_compressible
from albert_edge.training.compression.methods import CENTROIDS, OPTIONS, Cluster
from stored import assert_stored

FAST = dataclasses.replace(
    OPTIONS, epochs=6, batch_tokens=256, learning_rate=3e-3, max_length=32, averaging=0.9
)
KERNEL = "encoder/group_0/layer_0/ffn/output/kernel"


@pytest.fixture(scope="module")
def clustered(toy_model: Path, toy_table: Path) -> Checkpoint:
    start = read_checkpoint(toy_model)
    data = read_examples(toy_table, "classification", start.config.labels, EvaluateOptions())
    *_, last = compress(start, data, method=Cluster(clusters=8), dev=data, options=FAST)
    assert last.dev_accuracy == 1.0
    return last.checkpoint


def test_all_channels_of_a_matrix_share_the_codes(clustered: Checkpoint) -> None:
    for name in clustered.tensors:
        if is_compressible(name):
            codes = np.unique(int8_codes(clustered.tensors, name))
            assert 2 < len(codes) <= 8, name
            assert np.abs(codes).max() == 127


def test_the_int8_file_holds_these_codes(clustered: Checkpoint) -> None:
    assert_stored(clustered)


def test_training_moves_numbers_and_centroids(clustered: Checkpoint, toy_model: Path) -> None:
    before = read_checkpoint(toy_model).tensors[KERNEL]
    book = Codebook(tf.Variable(before, name=KERNEL), Cluster(clusters=8))
    at_first = book.to_int8_grid(book.latent, book.centroids)
    old, new = int8_codes({KERNEL: at_first}, KERNEL), int8_codes(clustered.tensors, KERNEL)
    assert set(old.ravel()) != set(new.ravel())  # the centroids
    order = [np.unique(codes, return_inverse=True)[1] for codes in (old, new)]
    assert (order[0] != order[1]).any()


@pytest.mark.parametrize("centroids", list(CENTROIDS))
@pytest.mark.parametrize("clusters", [2, 3, 32, 255])
def test_codebooks_of_any_size_and_start(centroids: str, clusters: int) -> None:
    matrix = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    matrix[:, 3] = 0  # a channel that was pruned away
    book = Codebook(
        tf.Variable(matrix, name=KERNEL), Cluster(clusters=clusters, centroids=centroids)
    )
    stored = book.to_int8_grid(book.latent, book.centroids)
    assert (
        len(np.unique(int8_codes({KERNEL: stored}, KERNEL))) <= clusters + 1
    )  # the 0 of the empty channel
    assert (stored[:, 3] == 0).all()
    assert np.allclose(np.abs(stored).max(axis=0), np.abs(matrix).max(axis=0))
    # What training uses is what is stored, but for rounding to the grid: half a code.
    steps = np.abs(matrix).max(axis=0) / 127
    if clusters < 255:  # of so many, some are nearer than a code to each other
        assert (np.abs(book.clustered().numpy() - stored) <= 0.51 * steps).mean() > 0.9


@given(
    arrays.arrays(np.float32, (40,), elements=st.floats(-1, 1, width=32)),
    st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=40),
)
def test_the_nearest_centroid_is_found(values: np.ndarray, centroids: list[float]) -> None:
    rising = np.sort(np.array(centroids, np.float32))
    found = rising[nearest(tf.constant(values), tf.constant(rising)).numpy()]
    least = np.abs(values[:, None] - rising).min(axis=1)
    assert np.allclose(np.abs(values - found), least, atol=1e-6)  # a tie may fall to either side
