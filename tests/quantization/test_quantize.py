"""Quantized stages: which tensors are integers, how small the errors are, and why."""

from __future__ import annotations

import numpy as np
import pytest

from albert_edge.bundle.bundle import model_bytes
from albert_edge.inspection import inspect
from albert_edge.quantization import quantize
from albert_edge.quantization.model import quantize_stages
from albert_edge.quantization.recipes import get_recipe
from albert_edge.runtime import open_model
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tasks import TASKS
from albert_edge.tflite.graph import pack
from albert_edge.tflite.link import link
from albert_edge.verification import verify
from quantization.samples import IDS, WIDE, float_operators


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
