"""The sensitivity report: it finds a bad part, and its errors are those of a file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from albert_edge.errors import ConversionError, InputError
from albert_edge.modeling import Albert
from albert_edge.modeling.layers import assign, tensors
from albert_edge.quantization.calibration import calibration_rows, collect_stats
from albert_edge.quantization.model import quantize_exported, quantize_stages
from albert_edge.quantization.recipes import get_recipe, override_precision
from albert_edge.quantization.sensitivity import BOUNDARIES, measure_sensitivity
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tflite.export import export_stages
from albert_edge.tflite.graph import builtin_code, pack, schema
from albert_edge.tflite.link import link

_random = np.random.default_rng(5)
# Every fourth line from the last one on is measured on.
LINES = [" ".join(map(str, _random.integers(2, 60, n))) for n in (9, 30, 12, 20, 25, 7, 16, 33)]
HELD_OUT = [3, 7]
SEEN = [line for index, line in enumerate(LINES) if index not in HELD_OUT]
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "embedding_size": 32}


def outputs(blob, line):
    ids = np.array([line.split()], np.int32)
    runner = open_interpreter(blob, threads=1).get_signature_runner()
    return runner(input_ids=ids, token_type_ids=np.zeros_like(ids))


def off(model, quantize, name):
    """Return how far a real file is off on the texts that are held out."""
    files = [
        pack(link(quantize_stages(model, get_recipe(kind), calibration=SEEN), model.config).model)
        for kind in (quantize, "float32")
    ]
    pairs = [[outputs(blob, LINES[index])[name].ravel() for blob in files] for index in HELD_OUT]
    got, want = (np.concatenate(arrays).astype(np.float64) for arrays in zip(*pairs, strict=True))
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def part(report, name):
    return next(entry for entry in report["parts"] if entry["part"] == name)


@pytest.fixture(scope="module")
def report(tiny_albert):
    """The report of int8-full features, and the shares of progress."""
    shares = []
    model = tiny_albert("feature-extraction", **SHAPE)
    measured = measure_sensitivity(model, calibration=LINES, advance=shares.append)
    return {**measured, "shares": shares}


def test_the_whole_error_is_that_of_a_file(tiny_albert, report):
    model = tiny_albert("feature-extraction", **SHAPE)
    # Equalized twice, some weights are rounded to the other side.
    for name in ("last_hidden_state", "pooler_output"):
        expected = pytest.approx(off(model, "int8-full", name), rel=0.02)
        assert report["whole"]["outputs"][name] == expected
    assert (report["texts"], report["tokens"]) == (2, 53)


def test_each_pass_runs_the_layer_of_its_group(tiny_albert):
    model = tiny_albert(num_hidden_layers=4, num_hidden_groups=2)
    report = measure_sensitivity(model, quantize="int4", calibration=LINES)
    # The very stages of the file, in the same kernels; only float sums may differ in their order.
    assert report["whole"]["error"] == pytest.approx(off(model, "int4", "logits"), rel=1e-3)
    assert report["depths"] == ["embed", "1", "2", "3", "4", "head"]
    assert all(part(report, "layer.ffn_output")["by_depth"][1:-1])


def test_a_part_that_was_made_bad_is_named_first_and_advised_to_be_kept(tiny_albert):
    model = Albert(tiny_albert(**SHAPE).config, task="classification")
    weights = dict(tensors(tiny_albert(**SHAPE)))
    ffn = "encoder/group_0/layer_0/ffn"
    for name, value in ((f"{ffn}/intermediate/kernel", 0), (f"{ffn}/intermediate/bias", 0)):
        weights[name] = weights[name].copy()
        weights[name][..., 0] = value
    # The inner value 0 is always GELU(0) = 0: these have no effect, but the int8 range is now 60.
    weights[f"{ffn}/output/kernel"] = weights[f"{ffn}/output/kernel"].copy()
    weights[f"{ffn}/output/kernel"][0] = 60
    assign(model, weights)
    report = measure_sensitivity(model, quantize="int8", calibration=LINES)
    first, second, *_ = report["parts"]
    assert first["part"] == "layer.ffn_output"
    assert first["error"] > 5 * second["error"]
    assert report["suggestion"] == first["finer"]
    assert report["suggestion"]["keep"] == "layer.ffn_output=float16"
    assert report["suggestion"]["error"] < report["whole"]["error"] / 5
    assert report["suggestion"]["size_bytes"] > report["whole"]["size_bytes"]
    kept = measure_sensitivity(
        model, quantize="int8", calibration=LINES, kept=["layer.ffn_output=float16"]
    )
    assert kept["whole"]["error"] == pytest.approx(first["finer"]["error"])
    assert part(kept, "layer.ffn_output")["error"] < first["error"] / 5


def test_errors_add_up(report):
    whole = report["whole"]
    singles = [error for error in whole["by_depth"] if error is not None]
    assert whole["sum_of_squares"] == pytest.approx(math.hypot(*singles))
    errors = [entry["error"] for entry in report["parts"]]
    assert report["sum_of_squares"] == pytest.approx(math.hypot(*errors))
    # On 53 tokens errors neither cancel nor agree by more than a factor of 2.
    for expected in (whole["sum_of_squares"], report["sum_of_squares"]):
        assert 1 / 2 < expected / whole["error"] < 2


def test_every_part_is_where_it_is_in_the_model(report):
    places = {
        entry["part"]: [error is not None for error in entry["by_depth"]]
        for entry in report["parts"]
    }
    assert places.pop(BOUNDARIES) == [True] * 5
    for name, where in places.items():
        stage = name.partition(".")[0]
        assert where == [stage == "embed", *[stage == "layer"] * 3, stage == "head"]
    assert places.keys() == {
        *(f"embed.{name}_embeddings" for name in ("word", "position", "token_type")),
        *("embed.projection", "head.pooler", "layer.attention_scores"),
        *("layer.attention_query_key_value", "layer.attention_output"),
        *("layer.ffn_intermediate", "layer.ffn_output"),
    }


def test_the_report_is_json_and_the_worst_come_first(report):
    assert json.loads(json.dumps(report)) == report
    assert sum(report["shares"]) == pytest.approx(1)
    assert report.keys() == {
        *("quantize", "kept", "task", "texts", "tokens", "depths", "whole", "parts"),
        *("sum_of_squares", "suggestion", "shares"),
    }
    figures = {"error", "outputs", "by_depth", "sum_of_squares"}
    assert report["whole"].keys() == figures | {"limit", "size_bytes"}
    errors = [entry["error"] for entry in report["parts"]]
    assert errors == sorted(errors, reverse=True)
    for entry in report["parts"]:
        assert entry.keys() == figures | {"part", "weights", "arithmetic", "finer"}
        assert entry["outputs"].keys() == {"last_hidden_state", "pooler_output"}
        assert entry["error"] == max(entry["outputs"].values())
        assert len(entry["by_depth"]) == len(report["depths"])


def test_what_is_kept_in_float_is_no_part(tiny_albert):
    report = measure_sensitivity(
        tiny_albert(**SHAPE), quantize="int8", kept=["layer=float32"], calibration=LINES
    )
    assert {entry["part"].partition(".")[0] for entry in report["parts"]} == {"embed", "head"}
    assert report["whole"]["by_depth"][1:-1] == [None] * 3


def test_moved_values_are_equalized_too(tiny_albert):
    # Queries are divided by the square root of a head's size, so keys are larger until both are
    # given one size; where their product is in float, they turn into integers after a move.
    model = tiny_albert(**SHAPE)
    float32 = export_stages(model)
    stats = collect_stats(float32, model.config, calibration_rows(LINES, model.config, {}))
    mixed = override_precision(get_recipe("int8-full"), ["layer.attention_query_key_value=float32"])
    layer = quantize_exported(float32, model.config, mixed, stats=stats).layers[0]
    scores, *_norms = (
        operator
        for operator in layer.graph.operators
        if builtin_code(layer.model, operator) == schema.BuiltinOperator.BATCH_MATMUL
        and operator.builtinOptions.adjY
    )
    query, key = (layer.graph.tensors[index].quantization.scale for index in scores.inputs)
    assert query == pytest.approx(key)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"quantize": "int3"}, ConversionError, "unknown recipe 'int3'"),
        ({"quantize": "float32"}, ConversionError, "float32 quantizes nothing"),
        ({"kept": ["layer.ffn=int3"]}, ConversionError, "cannot keep"),
        ({"calibration": LINES[:1]}, InputError, "at least two are needed"),
        ({"calibration": ["2 3 99"]}, InputError, r"id 99 .* not in \[0, 60\)"),
    ],
)
def test_what_cannot_be_measured_is_refused(tiny_albert, options, error, message):
    with pytest.raises(error, match=message):
        measure_sensitivity(tiny_albert(), **options)
