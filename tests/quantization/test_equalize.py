"""Equalizing moves scales between query, key, value and output, and changes no result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from albert_edge.checkpoints.activation_ranges import channels_of
from albert_edge.quantization.calibration import collect_stats
from albert_edge.quantization.equalize import equalize, equalizing_factors, name_activations
from albert_edge.quantization.quantize import quantize_stage
from albert_edge.quantization.recipes import get_recipe
from albert_edge.quantization.tensors import CalibrationRanges
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.graph import builtin_code, schema
from albert_edge.tflite.link import link
from quantization.samples import ROWS, last_hidden


def test_equalizing_changes_sizes_and_no_result(tiny_albert):
    model = tiny_albert("feature-extraction", num_hidden_groups=1, inner_group_num=2)
    float32 = export_stages(model)
    stats = collect_stats(float32, model.config, ROWS)["layer_0"]
    layer, equalized = equalize(float32.layers[0], stats)
    changed = replace(float32, layers=(quantize_stage(layer, get_recipe("float32")),))
    want = last_hidden(link(float32, model.config))
    np.testing.assert_allclose(last_hidden(link(changed, model.config)), want, atol=1e-5)
    ranges = CalibrationRanges(stats=equalized)
    fused = [
        op
        for op in layer.graph.operators
        if builtin_code(layer.model, op) == schema.BuiltinOperator.FULLY_CONNECTED
    ]
    low, high = ranges.min_max(int(fused[0].outputs[0]), "float32")
    query, key, value = np.split(np.maximum(-low, high), 3)
    np.testing.assert_allclose(query, key, rtol=1e-4)
    np.testing.assert_allclose(value, query.max(), rtol=1e-4)


@given(
    arrays(np.float32, (2, 12), elements=st.floats(2**-10, 100, width=32)),
)
def test_factors_make_ranges_equal_and_cancel_out(bounds: Any) -> None:
    low, high = -bounds[0], bounds[1]
    factors = equalizing_factors((low, high))
    query, key, value = np.split(np.maximum(bounds[0], bounds[1]) * factors, 3)
    np.testing.assert_allclose(query, key, rtol=1e-5)
    np.testing.assert_allclose(value, query.max(), rtol=1e-5)
    of_query, of_key, _ = np.split(factors, 3)
    np.testing.assert_allclose(of_query * of_key, 1, rtol=1e-5)  # no score changes
    assert factors.dtype == np.float32


def test_a_channel_that_is_always_zero_has_a_factor() -> None:
    factors = equalizing_factors((np.zeros(6, np.float32), np.zeros(6, np.float32)))
    assert np.isfinite(factors).all()


@pytest.mark.parametrize("act", ["gelu_new", "relu"])
def test_every_activation_of_a_layer_has_its_name(tiny_albert, act):
    config = {"num_hidden_groups": 1, "inner_group_num": 2, "hidden_act": act}
    stage = export_stages(tiny_albert("feature-extraction", **config)).layers[0]
    found = name_activations(stage)
    assert found.keys() == channels_of(tiny_albert("feature-extraction", **config).config).keys()
    widths = {name: int(stage.graph.tensors[index].shape[-1]) for name, index in found.items()}
    path = "encoder/group_0/layer_1"
    assert widths[f"{path}/attention/query_key_value"] == 3 * 32
    assert widths[f"{path}/ffn/activation"] == 64
    assert widths[f"{path}/ffn/output"] == 32
