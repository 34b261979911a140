"""Statistics of the stages' tensors are those of the model's values, without padding."""

from __future__ import annotations

import numpy as np
import pytest

from albert_edge.quantization.calibration import collect_stats
from albert_edge.tflite.export import export_stages

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
        collect_stats(export_stages(model), model.config, ROWS, hessians=True),
    )


def test_ranges_are_those_of_the_values(seen):
    model, stages, stats = seen
    states = [
        model({name: np.array([ids]) for name, ids in row.items()})["last_hidden_state"][0]
        for row in ROWS
    ]
    found = stats["head"][stages.head.inputs["hidden_states"]]
    every = np.concatenate(states)  # [tokens, H]
    np.testing.assert_allclose(found.low[0], every.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.high[0], every.max(axis=0), atol=1e-5)


def test_every_pass_is_seen_and_hessians_are_of_all(seen):
    _, stages, stats = seen
    found = stats["layer_0"][stages.layers[0].inputs["hidden_states"]]
    assert found.low.shape == found.high.shape == (3, 32)  # passes, H
    assert found.hessian.shape == (32, 32)
    # Its trace is the sum of squares of 3 passes over 10 tokens, so bounded by the ranges.
    assert 0 < np.trace(found.hessian) < 30 * 32 * np.maximum(found.high, -found.low).max() ** 2


def test_padding_is_not_seen(seen, tiny_albert):
    model, stages, free = seen
    fixed_stages = export_stages(model, seq_len=12)
    fixed = collect_stats(fixed_stages, model.config, ROWS, seq_len=12)
    pairs = [(stages.layers[0], fixed_stages.layers[0]), (stages.head, fixed_stages.head)]
    for one, other in pairs:
        a = free[one.name][one.inputs["hidden_states"]]
        b = fixed[other.name][other.inputs["hidden_states"]]
        np.testing.assert_allclose(a.low, b.low, atol=1e-5)
        np.testing.assert_allclose(a.high, b.high, atol=1e-5)
