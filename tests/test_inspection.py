"""Taking stock of a file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import albert_edge
from albert_edge.bundle.archive import append_archive
from albert_edge.errors import AlbertEdgeError, BundleError, FidelityError, UnsupportedOpError
from albert_edge.inspection import bisect, inspect, require_right
from albert_edge.tflite.graph import pack, schema
from albert_edge.tflite.link import link
from gpu_graphs import E, Sketch, T


def test_weights_add_up(tiny_tflite):
    figures = inspect(tiny_tflite(num_hidden_layers=12))
    weights, layer = figures["weights"], figures["pieces"]["layer_0"]
    assert sum(weights["by_type"].values()) == weights["stored_bytes"]
    assert weights["logical_bytes"] == weights["stored_bytes"] + 11 * layer["weight_bytes"]
    # H=32, FFN=64: four products of attention, two of the FFN, two norms, all float32.
    products = 4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32)
    assert layer["weight_bytes"] == pytest.approx(4 * (products + 4 * 32), abs=100)


def test_signatures_are_the_contract(tiny_tflite):
    free = inspect(tiny_tflite("question-answering"))["signatures"]["serving_default"]
    assert free == {
        "inputs": {
            "input_ids": {"dtype": "int32", "shape": [1, -1]},
            "token_type_ids": {"dtype": "int32", "shape": [1, -1]},
        },
        "outputs": {
            "start_logits": {"dtype": "float32", "shape": [1, -1]},
            "end_logits": {"dtype": "float32", "shape": [1, -1]},
        },
    }
    fixed = inspect(tiny_tflite(seq_len=12))["signatures"]["serving_default"]
    assert fixed["inputs"]["attention_mask"] == {"dtype": "int32", "shape": [1, 12]}
    assert fixed["outputs"] == {"logits": {"dtype": "float32", "shape": [1, 3]}}


def test_split_has_a_signature_a_stage(tiny_tflite):
    found = inspect(tiny_tflite(layout="split", num_hidden_groups=2))["signatures"]
    assert list(found) == ["embed", "layer_0", "layer_1", "head"]


def test_a_file_without_metadata_is_one_piece(tiny_albert, tiny_stages):
    figures = inspect(pack(link(tiny_stages(), tiny_albert().config).model))
    assert figures["bundle"] is None
    assert list(figures["pieces"]) == ["model"]


def test_a_picture_is_no_model(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(500))
    with pytest.raises(BundleError, match="not a"):
        inspect(path)


@settings(max_examples=200)
@given(data=st.data())
def test_damage_gives_one_clear_error(tiny_tflite, data):
    blob = bytearray(tiny_tflite())
    if data.draw(st.booleans()):
        del blob[data.draw(st.integers(0, len(blob) - 1)) :]
    for position in data.draw(st.lists(st.integers(0, max(len(blob) - 1, 0)), max_size=8)):
        if blob:
            blob[position] = data.draw(st.integers(0, 255))
    with suppress(AlbertEdgeError):
        inspect(bytes(blob), accelerator="gpu")
    with suppress(AlbertEdgeError):
        inspect(bytes(blob), accelerator="edgetpu")


def test_another_tool_s_file_has_what_ours_has_not():
    s = Sketch()
    image, state = s.input(1, 4, 4, 3, kind="int8"), s.input(1, 3)
    weight = s.weights(1, 3, 3, 3, kind="int8")
    options = schema.DepthwiseConv2DOptionsT(strideW=1, strideH=1, depthMultiplier=1)
    shape = [1, 4, 4, 3]
    # A newer version than any of ours, and a filter with a scale for each channel, the last axis.
    mapped = s.op("DEPTHWISE_CONV_2D", [image, weight], shape, options, kind="int8", version=7)
    model = s.model(mapped, s.op("TANH", [state], [1, 3]))
    graph = model.subgraphs[0]
    graph.tensors[weight].quantization = schema.QuantizationParametersT(
        min=[-1.0], max=[1.0], scale=[3e-35, 1e-3, 1e-3], zeroPoint=[0, 1, 0], quantizedDimension=3
    )
    graph.tensors[state].isVariable = True
    graph.inputs = graph.inputs[:1]
    model.signatureDefs = []
    blob = pack(model)
    for file in (blob, append_archive(blob, {"labels.txt": b"cat\ndog\n"})):
        figures = inspect(file, accelerator="edgetpu")
        assert figures["bundle"] is None
        assert figures["pieces"]["model"]["operators"] == {"DEPTHWISE_CONV_2D": 1, "TANH": 1}
        assert not figures["edgetpu"]["compiles"]


def test_files_for_cpus_and_gpus_do_not_belong_on_an_edge_tpu(tiny_tflite):
    figures = inspect(UNROLLED, accelerator="edgetpu")
    rules = {one["rule"] for one in figures["edgetpu"]["findings"]}
    assert rules == {"unknown-to-compiler", "not-int8"}  # GELU; floats
    with pytest.raises(UnsupportedOpError, match=r"compiler refuses m\.tflite: 6 GELU"):
        require_right(figures, where="m.tflite")
    whole = inspect(tiny_tflite(quantize="int8-full"), accelerator="edgetpu")["edgetpu"]
    assert not whole["compiles"]
    assert {one["rule"] for one in whole["findings"]} >= {"several-subgraphs", "any-length"}


def test_integer_files_have_floats_only_in_their_outputs(tiny_tflite):
    pieces = inspect(tiny_tflite(quantize="int8-full"))["pieces"]
    floats = {name: piece["float_operators"] for name, piece in pieces.items()}
    assert {name: kinds for name, kinds in floats.items() if kinds} == {"head": {"DEQUANTIZE": 1}}
    pieces = inspect(tiny_tflite(quantize="int8"))["pieces"]
    assert all(piece["float_operators"] for piece in pieces.values() if piece["passes"] > 1)


# What `convert tests/data/parity/base_classification --layout unrolled --seq-len 16 --quantize
# float32` wrote on 2026-11-26: a graph for CPUs, with GELU in its tanh form.
UNROLLED = Path(__file__).parent / "data" / "unrolled_for_cpus.tflite"


def test_a_graph_for_cpus_is_wrong_on_gpus():
    kinds = inspect(UNROLLED, accelerator="gpu")["gpu"]["kinds"]
    found = {(kind["name"], kind["rule"]): kind["count"] for kind in kinds}
    assert found == {
        ("ADD", "rows-of-constant"): 1,
        ("BATCH_MATMUL", "transposed-product"): 6,
        ("BATCH_MATMUL", "heads-as-batch"): 12,
        ("ADD", "mask-on-product"): 6,
        ("MEAN", "unscaled-squares"): 12,
        ("GELU", "tanh-gelu"): 6,
        ("GATHER", "lookup-by-list"): 2,
        ("RESHAPE", "arithmetic-on-ids"): 2,
        ("SLICE", "slice-of-low-rank"): 1,
        ("GATHER", "lookup"): 1,
    }
    assert "gpu" not in inspect(UNROLLED)


@pytest.mark.parametrize("quantize", ["float32", "float16", "int8"])
def test_nothing_is_wrong_in_a_graph_for_gpus(tiny_albert, quantize):
    model = albert_edge.convert(tiny_albert(), target="gpu", quantize=quantize, seq_len=16)
    found = inspect(model.blob, accelerator="gpu")["gpu"]["findings"]
    assert {finding["effect"] for finding in found} == {"left to the CPU"}
    assert {finding["name"] for finding in found} <= {"GATHER", "DEQUANTIZE"}


def test_a_file_is_bisected_on_half_its_length(software_gpu):
    seen = []
    found = bisect(UNROLLED, on_cut=lambda *numbers: seen.append(numbers))
    assert found["inputs"] == "random ids of 8 tokens, padded to 16"
    assert found["divergence"]["tensor"] == "embed/14"  # position rows, broadcast from the first
    assert seen[-1][0] == found["divergence"]["cuts"] <= 12
    with pytest.raises(FidelityError, match="ADD is computed wrong"):
        require_right({"gpu": {"kinds": [], "bisect": found}}, where="m.tflite")


def test_a_file_of_any_length_is_refused_or_wrong(software_gpu, tiny_tflite):
    found = bisect(tiny_tflite(num_hidden_layers=1))  # a loop
    assert found["inputs"] == "random ids of 16 tokens"
    assert found["divergence"] is not None


def test_a_foreign_file_that_cannot_run_is_one_error(software_gpu):
    s = Sketch()
    table, ids = (
        s.weights(T, E),
        s.op("MUL", [s.input(1, T, kind="int32"), s.ints(1000)], [1, T], kind="int32"),
    )
    with pytest.raises(AlbertEdgeError, match="gather index out of bounds"):
        bisect(pack(s.model(s.gather(table, ids, [1, T, E]))))
