"""The linker: all layouts give the same outputs, and every weight is stored once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.config import LAYOUTS
from albert_edge.errors import ConversionError
from albert_edge.inspection import inspect
from albert_edge.quantization.model import quantize_stages
from albert_edge.quantization.recipes import RECIPES, get_recipe
from albert_edge.runtime import open_model
from albert_edge.tflite.graph import pack
from albert_edge.tflite.link import link

IDS = [2, 17, 33, 5, 59, 8, 3]
TYPES = [0, 0, 0, 1, 1, 1, 1]
DEEP = {"num_hidden_layers": 7, "num_hidden_groups": 3, "inner_group_num": 2}


@pytest.mark.parametrize("quantize", RECIPES)
@pytest.mark.parametrize("seq_len", [None, 12])
@pytest.mark.parametrize("shape", [{}, DEEP], ids=["one group", "three groups of two"])
def test_layouts_agree_bit_for_bit(tiny_tflite, quantize, seq_len, shape):
    outputs = [
        open_model(
            tiny_tflite(
                "question-answering", layout=layout, quantize=quantize, seq_len=seq_len, **shape
            )
        ).run(IDS, TYPES)
        for layout in LAYOUTS
    ]
    for layout, other in zip(LAYOUTS, outputs, strict=True):
        for name, values in outputs[0].items():
            if not get_recipe(quantize).calibrated or layout != "unrolled":
                np.testing.assert_array_equal(other[name], values)
            elif not shape:  # a range for every pass, and so other scales; seven random
                # layers amplify those beyond comparison
                np.testing.assert_allclose(other[name], values, rtol=0, atol=0.1)


@pytest.mark.parametrize("shape", [{}, DEEP], ids=["one group", "three groups of two"])
@pytest.mark.parametrize("task", ["classification", "question-answering", "feature-extraction"])
@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_float32_says_what_keras_says(tiny_albert, tiny_tflite, task, act, shape):
    model = tiny_albert(task, hidden_act=act, **shape)
    want = model({"input_ids": np.array([IDS]), "token_type_ids": np.array([TYPES])})
    got = open_model(tiny_tflite(task, hidden_act=act, **shape)).run(IDS, TYPES)
    assert got.keys() == want.keys()
    for name, values in want.items():
        # Sums in another order: a few float32 roundings of values around 1, over up to 14 layers.
        np.testing.assert_allclose(got[name], values, atol=2e-5)


@pytest.mark.parametrize("quantize", ["float32", "float16"])
def test_padding_changes_nothing(tiny_tflite, quantize):
    free = open_model(tiny_tflite(quantize=quantize)).run(IDS, TYPES)
    padded = open_model(tiny_tflite(quantize=quantize, seq_len=12)).run(IDS, TYPES)
    # exp(-10000) is exactly 0: only the order of the sums may differ.
    np.testing.assert_allclose(padded["logits"], free["logits"], atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("quantize", RECIPES)
def test_every_weight_is_stored_once(tiny_tflite, layout, quantize):
    figures = inspect(tiny_tflite(layout=layout, quantize=quantize, num_hidden_layers=12))
    assert figures["weights"]["duplication"] <= 1.01
    assert figures["pieces"]["layer_0"]["passes"] == 12


@pytest.mark.parametrize("layout", LAYOUTS)
def test_depth_costs_no_weights(tiny_tflite, layout):
    stored = [
        inspect(tiny_tflite(layout=layout, quantize="int8", num_hidden_layers=depth))["weights"][
            "stored_bytes"
        ]
        for depth in (3, 12)
    ]
    # A loop has an int32 for every pass: of how many rows the next one is.
    assert stored[1] - stored[0] == (9 * 4 if layout == "loop" else 0)


def test_equal_models_give_equal_bytes(tiny_albert):
    model = tiny_albert()
    one, two = (quantize_stages(model, get_recipe("int8")) for _ in range(2))
    for first, second in zip(
        (one.embed, *one.layers, one.head), (two.embed, *two.layers, two.head), strict=True
    ):
        assert pack(first.model) == pack(second.model)
    assert pack(link(one, model.config).model) == pack(link(two, model.config).model)


def test_unknown_layout_is_refused(tiny_albert, tiny_stages):
    model, stages = tiny_albert(), tiny_stages()
    with pytest.raises(ConversionError, match="unknown layout 'star'; choose from loop"):
        link(stages, model.config, layout="star")


@settings(max_examples=20, deadline=None)
@given(depth=st.integers(1, 9), data=st.data())
def test_any_depth_and_grouping_links(tiny_albert, tiny_stages, depth, data):
    # Stages do not depend on the depth, so one conversion a grouping serves all examples.
    groups = data.draw(st.integers(1, min(depth, 3)))
    model = tiny_albert("classification", num_hidden_layers=depth, num_hidden_groups=groups)
    stages = tiny_stages(num_hidden_groups=groups)
    found = {
        layout: inspect(pack(link(stages, model.config, layout=layout).model))["pieces"]
        for layout in LAYOUTS
    }
    found = {layout: pieces["model"]["operators"] for layout, pieces in found.items()}
    assert {layout: counts["SOFTMAX"] for layout, counts in found.items()} == {
        "loop": groups,
        "unrolled": depth,
        "split": groups,
    }
    assert found["loop"]["WHILE"] == groups
