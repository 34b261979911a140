"""All stages of a model by one recipe, with ranges on which neighbours agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from albert_edge.inspection import inspect
from albert_edge.modeling import Albert
from albert_edge.modeling.layers import assign, tensors
from albert_edge.quantization.calibration import collect_stats
from albert_edge.quantization.model import quantize_exported, quantize_stages
from albert_edge.quantization.recipes import get_recipe, override_precision
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.graph import pack
from albert_edge.tflite.link import link
from quantization.samples import IDS, ROWS, WIDE, float_operators, last_hidden


def test_padding_changes_little(tiny_albert):
    # A mask 11 below the least score leaves padding a weight of e^-11; scales differ a little.
    model = tiny_albert("feature-extraction", num_hidden_layers=2)
    ids = " ".join(map(str, IDS))
    free, fixed = (
        link(
            quantize_stages(model, get_recipe("int16x8"), seq_len=length, calibration=[ids] * 2),
            model.config,
        )
        for length in (None, 12)
    )
    padded = {"input_ids": IDS + [0] * 5, "attention_mask": [1] * 7 + [0] * 5}
    got = last_hidden(fixed, **padded)[:, :7]
    np.testing.assert_allclose(got, last_hidden(free), atol=0.02)


def test_a_row_with_an_outlier_keeps_the_others_exact(tiny_albert):
    model = Albert(tiny_albert("feature-extraction").config, task="feature-extraction")
    weights = tensors(tiny_albert("feature-extraction"))
    name = "encoder/group_0/layer_0/ffn/output/kernel"
    large = weights[name].copy()
    large[:, 5] *= 100  # as one channel of a trained ALBERT
    assign(model, {**weights, name: large})
    float32 = export_stages(model)
    stats = collect_stats(float32, model.config, ROWS)
    want = last_hidden(link(float32, model.config))
    full = get_recipe("int8-full")
    errors = []
    for chosen in (full, replace(full, by_row=False)):
        stages = quantize_exported(float32, model.config, chosen, stats=stats)
        errors.append(np.abs(last_hidden(link(stages, model.config)) - want).mean())
    assert errors[0] < 0.5 * errors[1]


def test_a_kept_part_is_stored_as_asked(tiny_albert):
    model = tiny_albert(**WIDE)
    for name in ("int8", "int8-full", "int4"):
        kept = override_precision(get_recipe(name), ["layer.ffn_output=float32"])
        blob = pack(link(quantize_stages(model, kept), model.config).model)
        assert inspect(blob)["weights"]["by_type"]["float32"] >= 128 * 128 * 4
        if name == "int8-full":  # one product and its casts; the rest stays in integers
            assert set(float_operators(blob)) == {"DEQUANTIZE", "FULLY_CONNECTED", "QUANTIZE"}


def test_rounding_by_inputs_beats_the_nearest(tiny_albert):
    model = tiny_albert("feature-extraction", **WIDE)
    float32 = export_stages(model)
    rows = [{"input_ids": list(range(n, n + 20)), "token_type_ids": [0] * 20} for n in range(5, 40)]
    stats = collect_stats(float32, model.config, rows, hessians=True)
    want = last_hidden(link(float32, model.config))
    errors = []
    for chosen in (get_recipe("int4"), replace(get_recipe("int4"), compensated=False)):
        stages = quantize_exported(float32, model.config, chosen, stats=stats)
        errors.append(np.abs(last_hidden(link(stages, model.config)) - want).mean())
    assert errors[0] < errors[1]
