"""What is seen in the pieces is what the model computes, and no padding."""

from __future__ import annotations

import numpy as np
import pytest

from albert_edge.quantization.calibration import collect_stats
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.graph import StageModel

ROWS = [
    {"input_ids": [2, 17, 33, 5, 59, 8, 3], "token_type_ids": [0, 0, 0, 1, 1, 1, 1]},
    {"input_ids": [2, 41, 3], "token_type_ids": [0, 0, 0]},
]


@pytest.fixture(scope="module")
def seen(tiny_albert):
    model = tiny_albert("feature-extraction")
    return (
        model,
        export_stages(model),
        collect_stats(export_stages(model), model.config, ROWS, grams=True),
    )


def test_ranges_are_those_of_the_values(seen):
    model, pieces, watched = seen
    states = [
        model({name: np.array([ids]) for name, ids in row.items()})["last_hidden_state"][0]
        for row in ROWS
    ]
    head = StageModel(pieces.head, "head")
    found = watched["head"][head.inputs["hidden_states"]]
    every = np.concatenate(states)  # [tokens, H]
    np.testing.assert_allclose(found.low[0], every.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.high[0], every.max(axis=0), atol=1e-5)


def test_every_pass_is_seen_and_grams_are_of_all(seen):
    _, pieces, watched = seen
    layer = StageModel(pieces.layers[0], "layer_0")
    found = watched["layer_0"][layer.inputs["hidden_states"]]
    assert found.low.shape == found.high.shape == (3, 32)  # passes, H
    assert found.gram.shape == (32, 32)
    # Its trace is the sum of squares of 3 passes over 10 tokens, so bounded by the ranges.
    assert 0 < np.trace(found.gram) < 30 * 32 * np.maximum(found.high, -found.low).max() ** 2


def test_padding_is_not_seen(seen, tiny_albert):
    model, pieces, free = seen
    fixed_pieces = export_stages(model, seq_len=12)
    fixed = collect_stats(fixed_pieces, model.config, ROWS, seq_len=12)
    for name, blob in (("layer_0", "layers"), ("head", "head")):
        one, other = (
            StageModel(getattr(which, blob)[0] if blob == "layers" else which.head, name)
            for which in (pieces, fixed_pieces)
        )
        a = free[name][one.inputs["hidden_states"]]
        b = fixed[name][other.inputs["hidden_states"]]
        np.testing.assert_allclose(a.low, b.low, atol=1e-5)
        np.testing.assert_allclose(a.high, b.high, atol=1e-5)
