"""TFLite models as objects: parsed and packed, built, and copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.errors import BundleError, ConversionError
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tflite.graph import (
    ModelBuilder,
    StageModel,
    builtin_code,
    copy_model,
    pack,
    parse,
    schema,
    tensor_bytes,
    type_name,
)

Op = schema.BuiltinOperator
FLOATS = schema.TensorT(shape=[2], type=schema.TensorType.FLOAT32, hasRank=True)


def adder(*terms: float) -> Any:
    """Return a model that adds constants to `x`, one after the other."""
    builder = ModelBuilder()
    graph = builder.graph("main")
    value = graph.input("x", FLOATS)
    for number, term in enumerate(terms):
        constant = graph.constant(FLOATS, f"term{number}", np.float32([term, term]).tobytes())
        result = graph.tensor(FLOATS, f"sum{number}")
        graph.operator(Op.ADD, [value, constant], [result], schema.AddOptionsT())
        value = result
    builder.sign("serving_default", graph, {"y": value})
    return builder.build()


def run(model: Any, *x: float) -> list[float]:
    runner = open_interpreter(pack(model), threads=1).get_signature_runner()
    found: list[float] = runner(x=np.float32(x))["y"].tolist()
    return found


def test_what_is_built_runs() -> None:
    assert run(adder(1.0, 2.0), 10, 20) == [13, 23]


def test_equal_data_and_codes_are_stored_once() -> None:
    model = adder(1.0, 2.0, 1.0)
    assert len(model.buffers) == 3  # the empty one, and two constants
    assert len(model.operatorCodes) == 1
    assert len(model.subgraphs[0].tensors) == 1 + 2 + 3
    assert run(model, 0, 0) == [4, 4]


@given(st.lists(st.sampled_from([1.0, 2.0, 3.5, -7.25]), min_size=1, max_size=5))
def test_packing_and_parsing_change_nothing(terms: list[float]) -> None:
    blob = pack(adder(*terms))
    assert pack(adder(*terms)) == blob
    again = parse(blob + b"an archive behind it")
    assert pack(again) == blob
    stored = [tensor_bytes(again, tensor) for tensor in again.subgraphs[0].tensors]
    found = {float(np.frombuffer(data, np.float32)[0]) for data in stored if data}
    assert found == set(terms)


def test_data_begin_at_multiples_of_16_bytes() -> None:
    # The kernels read them from the mapped file, with instructions that need it.
    blob = pack(adder(*range(20)))  # 8 bytes each
    start = np.frombuffer(blob, np.uint8).ctypes.data
    root = schema.Model.GetRootAs(blob)
    arrays = [root.Buffers(index).DataAsNumpy() for index in range(root.BuffersLength())]
    places = [array.ctypes.data - start for array in arrays if not isinstance(array, int)]
    assert len(places) == 20
    assert all(place % 16 == 0 for place in places)


@pytest.mark.parametrize("blob", [b"", b"TFL3", b"\x08\0\0\0TFL2" + bytes(50)])
def test_what_is_no_model(blob: bytes) -> None:
    with pytest.raises(BundleError, match="the file identifier TFL3 is missing"):
        parse(blob)


@given(st.data())
def test_a_damaged_model_gives_one_clear_error_or_a_model(data: st.DataObject) -> None:
    blob = bytearray(pack(adder(1.0, 2.0)))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(8, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert parse(bytes(blob)).subgraphs
    except BundleError as error:
        assert "damaged" in str(error)  # noqa: PT017 (most damage goes unnoticed)


def test_a_copy_does_not_change_its_original() -> None:
    model = adder(1.0)
    before = pack(model)
    copied = copy_model(model)
    copied.subgraphs[0].tensors[0].name = b"other"
    copied.subgraphs[0].operators[0].builtinOptions.fusedActivationFunction = 1
    copied.subgraphs[0].operators.clear()
    copied.buffers.append(schema.BufferT(data=b"more"))
    assert pack(model) == before


def test_a_stage_is_inlined_as_often_as_it_is_needed() -> None:
    stage = StageModel(adder(1.5), "layer")
    assert (stage.inputs, stage.outputs) == ({"x": 0}, {"y": 2})
    builder = ModelBuilder()
    graph = builder.graph("main")
    value = graph.inputs_of(stage)["x"]
    for number in range(3):
        value = graph.inline(stage, {"x": value}, name=f"pass{number}")["y"]
    builder.sign("serving_default", graph, {"y": value})
    model = builder.build()
    assert run(model, 1, 2) == [5.5, 6.5]
    assert len(model.buffers) == 2  # its constant is there once
    names = {tensor.name.decode() for tensor in model.subgraphs[0].tensors}
    assert {"pass0/2", "pass1/2", "pass2/2", "layer/1"} <= names


def test_a_stage_with_a_loop_cannot_be_inlined() -> None:
    model = adder(1.0)
    model.operatorCodes[0].builtinCode = Op.WHILE
    stage, graph = StageModel(model, "layer"), ModelBuilder().graph("main")
    with pytest.raises(ConversionError, match="stage model 'layer' holds WHILE, which the linker"):
        graph.inline(stage, graph.inputs_of(stage))


def test_a_stage_has_one_graph_and_one_signature() -> None:
    model = adder(1.0)
    model.signatureDefs = []
    with pytest.raises(ConversionError, match="'head' must be one subgraph with one signature"):
        StageModel(model, "head")


def test_codes_of_older_and_newer_writers() -> None:
    model = adder(1.0)
    (operator,) = model.subgraphs[0].operators
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode = 0, Op.MUL  # an older writer fills the byte only
    assert builtin_code(model, operator) == Op.MUL
    code.builtinCode, code.deprecatedBuiltinCode = 150, Op.PLACEHOLDER_FOR_GREATER_OP_CODES
    assert builtin_code(model, operator) == 150


def test_types_have_numpy_s_names() -> None:
    assert type_name(FLOATS) == "float32"
    assert type_name(schema.TensorT(type=99)) == "type 99"
