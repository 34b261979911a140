"""Words are predicted with the very bytes that they are looked up in."""

from __future__ import annotations

import pytest

from albert_edge.bundle.bundle import model_bytes
from albert_edge.quantization.recipes import RECIPES
from albert_edge.tflite.graph import parse, tensor_bytes
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
