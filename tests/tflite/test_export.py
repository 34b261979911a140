"""Words are predicted with the very bytes that they are looked up in; products come in blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from albert_edge import convert
from albert_edge.bundle.bundle import model_bytes
from albert_edge.modeling import load_keras
from albert_edge.quantization.recipes import RECIPES
from albert_edge.tflite import export
from albert_edge.tflite.graph import OPERATOR_NAMES, builtin_code, parse, tensor_bytes
from albert_edge.verification import verify


@pytest.mark.parametrize("quantize", RECIPES)
@pytest.mark.parametrize("task", ["fill-mask", "pretraining"])
def test_the_table_is_one_buffer(tiny_albert, tiny_tflite, task, quantize):
    # Every gamma differs from 1 here: one that the converter folded into the table would show.
    blob = tiny_tflite(task, quantize=quantize)
    model = parse(model_bytes(blob))
    tables = {
        tensor.buffer
        for graph in model.subgraphs
        for tensor in graph.tensors
        if [int(size) for size in tensor.shape] == [60, 16] and tensor_bytes(model, tensor)
    }
    assert len(tables) == 1
    assert verify(blob, tiny_albert(task))["passed"]


def count_activations(blob: bytes) -> int:
    model = parse(model_bytes(blob))
    names = (
        OPERATOR_NAMES[builtin_code(model, one)] for g in model.subgraphs for one in g.operators
    )
    return list(names).count("GELU")


@pytest.mark.parametrize("layout", ["loop", "unrolled", "split"])
@pytest.mark.parametrize("quantize", ["float32", "float16"])
def test_a_float_ffn_is_computed_in_blocks(
    tiny_albert: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    quantize: str,
    layout: str,
) -> None:
    # 66 channels are not divisible by 20: four blocks would not be equal, so there are six.
    model = tiny_albert(intermediate_size=66, hidden_act="gelu")
    monkeypatch.setattr(export, "_BLOCK", 20)
    made = convert(model, quantize=quantize, layout=layout)
    assert made.report["verification"]["passed"]
    assert made.report["duplication"] == 1
    assert count_activations(made.blob) == 6 * (3 if layout == "unrolled" else 1)
    path = tmp_path / "m.tflite"
    path.write_bytes(made.blob)
    read = verify(path, load_keras(path))  # they are one product again
    assert max(one["error"] for one in read["outputs"].values()) < 1e-5


@pytest.mark.parametrize("quantize", ["int8", "int8-full", "int4"])
def test_other_recipes_have_one_block(
    tiny_albert: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, quantize: str
) -> None:
    monkeypatch.setattr(export, "_BLOCK", 20)
    model = tiny_albert(hidden_size=64, intermediate_size=128, hidden_act="gelu")
    assert count_activations(convert(model, quantize=quantize, verified=False).blob) <= 1
