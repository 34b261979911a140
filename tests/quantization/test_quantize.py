"""Quantized stages: which tensors are integers, how small the errors are, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from albert_edge.bundle.bundle import model_bytes
from albert_edge.inspection import inspect
from albert_edge.modeling import Albert
from albert_edge.modeling.layers import assign, tensors
from albert_edge.quantization import quantize
from albert_edge.quantization.calibration import collect_stats
from albert_edge.quantization.equalize import equalize
from albert_edge.quantization.model import quantize_exported, quantize_stages
from albert_edge.quantization.quantize import quantize_stage
from albert_edge.quantization.recipes import PARTS, get_recipe, override_precision
from albert_edge.quantization.tensors import CalibrationRanges, StageTensors
from albert_edge.runtime import open_model
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tasks import TASKS
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.graph import OPERATOR_NAMES, builtin_code, pack, parse, schema
from albert_edge.tflite.link import link
from albert_edge.verification import verify

FLOAT32 = schema.TensorType.FLOAT32
IDS = [2, 17, 33, 5, 59, 8, 3]
ROWS = [{"input_ids": IDS, "token_type_ids": [0] * 7}]
# Shapes that a block of 64 or 32 divides, as real ones are.
WIDE = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "embedding_size": 64,
    "initializer_range": 0.1,
}


def float_operators(blob):
    """Name the operators that touch a float, but for those that make the outputs."""
    model = parse(blob)
    found = []
    for graph in model.subgraphs:
        results = {int(index) for index in graph.outputs}
        for operator in graph.operators:
            touched = [int(i) for i in (*operator.inputs, *operator.outputs) if i >= 0]
            floats = {i for i in touched if graph.tensors[i].type == FLOAT32}
            last = builtin_code(model, operator) == schema.BuiltinOperator.DEQUANTIZE
            if floats and not (last and floats <= results):
                found.append(OPERATOR_NAMES[builtin_code(model, operator)])
    return found


def last_hidden(linked, **ids):
    """Run a linked model: float32 [1, T, H]."""
    rows = {"input_ids": IDS, **ids}
    rows["token_type_ids"] = [0] * len(rows["input_ids"])
    runner = open_interpreter(pack(linked.model), threads=1).get_signature_runner()
    inputs = {name: np.array([values], np.int32) for name, values in rows.items()}
    return runner(**inputs)["last_hidden_state"]


@pytest.mark.parametrize("name", ["int8-full", "int16x8"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("layout", "seq_len"), [("loop", None), ("unrolled", 12)])
def test_integers_from_the_embedding_to_the_logits(
    tiny_albert, tiny_tflite, name, task, layout, seq_len
):
    blob = tiny_tflite(task, quantize=name, layout=layout, seq_len=seq_len)
    assert float_operators(model_bytes(blob)) == []
    assert verify(blob, tiny_albert(task))["passed"]


def test_other_activations_are_integers_too(tiny_tflite):
    for act in ("relu", "gelu"):
        assert float_operators(model_bytes(tiny_tflite(quantize="int8-full", hidden_act=act))) == []
    assert float_operators(model_bytes(tiny_tflite(quantize="int8"))) != []


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


def test_a_kept_part_is_stored_as_asked(tiny_albert):
    model = tiny_albert(**WIDE)
    for name in ("int8", "int8-full", "int4"):
        kept = override_precision(get_recipe(name), ["layer.ffn_output=float32"])
        blob = pack(link(quantize_stages(model, kept), model.config).model)
        assert inspect(blob)["weights"]["by_type"]["float32"] >= 128 * 128 * 4
        if name == "int8-full":  # one product and its casts; the rest stays in integers
            assert set(float_operators(blob)) == {"DEQUANTIZE", "FULLY_CONNECTED", "QUANTIZE"}


def test_16_bit_sums_that_could_overflow_are_added_in_64(tiny_albert, tiny_tflite, monkeypatch):
    blob = tiny_tflite(quantize="int16x8")
    assert "int64" not in inspect(blob)["weights"]["by_type"]
    monkeypatch.setattr(quantize, "_HEADROOM", 2**31)
    model = tiny_albert()
    wide = pack(link(quantize_stages(model, get_recipe("int16x8")), model.config).model)
    assert inspect(wide)["weights"]["by_type"]["int64"] > 0
    runner = open_interpreter(wide, threads=1).get_signature_runner()
    ids = np.array([IDS], np.int32)
    got = runner(input_ids=ids, token_type_ids=np.zeros_like(ids))["logits"]
    # The kernels round their sums differently, by a code of 1/32767 here and there.
    np.testing.assert_allclose(got, open_model(blob).run(IDS)["logits"], atol=2e-3)


@pytest.mark.parametrize("task", ["classification", "fill-mask"])
def test_four_bits_in_blocks_say_nearly_the_same(tiny_albert, tiny_tflite, task):
    blob, eight = (tiny_tflite(task, quantize=name, **WIDE) for name in ("int4", "int8"))
    weights = inspect(blob)["weights"]
    assert weights["by_type"]["int4"] > weights["by_type"].get("int8", 0)
    assert weights["duplication"] == 1
    assert weights["stored_bytes"] < 0.75 * inspect(eight)["weights"]["stored_bytes"]
    assert verify(blob, tiny_albert(task, **WIDE))["passed"]


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


@pytest.mark.parametrize("task", TASKS)
def test_every_weight_belongs_to_a_part(tiny_albert, task):
    stages = export_stages(tiny_albert(task, inner_group_num=2))
    with_weights = (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.GATHER)
    for stage in (stages.embed, stages.layers[0], stages.head):
        tensors = StageTensors(stage, CalibrationRanges(stats={}))
        for operator in stage.graph.operators:
            if tensors.code(operator) in with_weights:
                assert tensors.part(operator) in PARTS
