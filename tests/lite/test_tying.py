"""Words are predicted with the very bytes that they are looked up in."""

from __future__ import annotations

import pytest

from albert_edge.bundle import model_bytes
from albert_edge.compression.recipes import RECIPES
from albert_edge.errors import ConversionError
from albert_edge.lite.flatbuffer import parse, tensor_bytes
from albert_edge.lite.tying import share_table
from albert_edge.lite.verify import verify


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


@pytest.mark.parametrize("quantize", ["float32", "int8"])
def test_another_models_table_is_not_shared(tiny_albert, tiny_pieces, quantize):
    config = tiny_albert("fill-mask").config
    ours = tiny_pieces("fill-mask", quantize=quantize)
    theirs = tiny_pieces("fill-mask", quantize=quantize, initializer_range=0.2)
    with pytest.raises(ConversionError, match="changed the word embeddings"):
        share_table(theirs.embed, ours.head, config)


def test_a_head_that_predicts_no_words_is_refused(tiny_albert, tiny_pieces):
    pieces = tiny_pieces("classification")
    with pytest.raises(ConversionError, match=r"piece 'head' has no word embeddings \[60, 16\]"):
        share_table(pieces.embed, pieces.head, tiny_albert().config)
