"""Fake quantization: values on the grids of their integers, and gradients straight through."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from albert_edge.training.compression.fake_quant import MovingRange


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
