"""The first operator that an accelerator computes wrong or refuses is named, wherever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.errors import DeviceError, InputError
from albert_edge.runtime.bisect import Divergence, find_divergence, gpu_engine
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tflite.gpu_rules import GraphView
from albert_edge.tflite.graph import pack, parse, schema
from gpu_graphs import GRAPHS, RIGHT, E, Sketch, T, make_inputs
from rigs import gpu_delegate
from rigs.install import RigError

Engine = Callable[[bytes, dict[str, Any]], dict[str, Any]]
# 223 operators, 6 passes; see tests/test_inspection.py.
UNROLLED = (Path(__file__).parents[1] / "data" / "unrolled_for_cpus.tflite").read_bytes()
IDS = np.arange(16, dtype=np.int32)[None]
INPUTS = {
    "input_ids": IDS + 5,
    "token_type_ids": (IDS > 4).astype(np.int32),
    "attention_mask": (IDS < 8).astype(np.int32),
}


def on_cpu(content: bytes, inputs: dict[str, Any]) -> dict[str, Any]:
    """A right engine."""
    interpreter = open_interpreter(content, threads=1, delegated=False)
    return dict(interpreter.get_signature_runner()(**inputs))


def with_wrong_sum(tensor: str) -> Engine:
    """An engine that subtracts where one tensor is computed by an ADD."""

    def engine(content: bytes, inputs: dict[str, Any]) -> dict[str, Any]:
        model = parse(content)
        model.operatorCodes.append(schema.OperatorCodeT(builtinCode=schema.BuiltinOperator.SUB))
        for one in GraphView(model, 0).operators:
            if one.name == "ADD" and one.outputs[0].name == tensor:
                stored = model.subgraphs[0].operators[one.index]
                stored.opcodeIndex = len(model.operatorCodes) - 1
                stored.builtinOptionsType = schema.BuiltinOptions.SubOptions
                stored.builtinOptions = schema.SubOptionsT()
        return on_cpu(pack(model), inputs)

    return engine


# All but those of epsilon, 1e-12, which float32 rounds away.
SUMS = [
    one.outputs[0].name
    for one in GraphView(parse(UNROLLED), 0).operators
    if one.name == "ADD" and all(value.size > 1 for value in one.inputs)
]


@pytest.mark.parametrize("tensor", SUMS[::3])
def test_a_wrong_operator_is_found_anywhere(tensor: str) -> None:
    seen: list[tuple[int, int]] = []
    found = find_divergence(
        UNROLLED, INPUTS, with_wrong_sum(tensor), on_cut=lambda *numbers: seen.append(numbers)
    )
    assert found is not None
    assert (found.effect, found.name, found.tensor) == ("computed wrong", "ADD", tensor)
    assert found.error > 1e-4
    assert found.cuts <= 14  # of 223 operators: by halves, not one by one
    assert [done for done, _ in seen] == list(range(1, found.cuts + 1))
    assert all(done <= expected for done, expected in seen)


def test_the_first_of_two_wrong_operators_is_found() -> None:
    first, second = with_wrong_sum(SUMS[5]), with_wrong_sum(SUMS[20])

    def engine(content: bytes, inputs: dict[str, Any]) -> dict[str, Any]:
        one, other = first(content, inputs), second(content, inputs)
        right = on_cpu(content, inputs)
        # Wrong wherever one of them is.
        return {
            name: values if (values != right[name]).any() else other[name]
            for name, values in one.items()
        }

    found = find_divergence(UNROLLED, INPUTS, engine)
    assert found is not None
    assert found.tensor == SUMS[5]


def test_nothing_is_found_where_everything_is_right() -> None:
    assert find_divergence(UNROLLED, INPUTS, on_cpu) is None


def test_an_operator_that_is_refused_is_found() -> None:
    def engine(content: bytes, inputs: dict[str, Any]) -> dict[str, Any]:
        names = {one.name for one in GraphView(parse(content), 0).operators}
        if "SOFTMAX" in names:
            raise DeviceError("no softmax here.")
        return on_cpu(content, inputs)

    found = find_divergence(UNROLLED, INPUTS, engine)
    assert found is not None
    assert (found.effect, found.name, found.tensor) == ("refused", "SOFTMAX", "pass_0/15")
    assert (found.error, found.message) == (None, "no softmax here.")
    assert (found.inputs, found.outputs) == ([[3, 16, 16]], [[3, 16, 16]])


def test_a_fault_that_a_cut_mends_is_the_whole_graphs() -> None:
    def engine(content: bytes, inputs: dict[str, Any]) -> dict[str, Any]:
        # As in google-ai-edge/LiteRT#8599: a sum that is an output and read holds a term.
        graph = GraphView(parse(content), 0)
        found = on_cpu(content, inputs)
        for one in graph.operators:
            result = one.outputs[0]
            if one.name == "ADD" and result.index in graph.outputs and result.readers:
                found["y0"] = inputs["x0"]
        return found

    model = GRAPHS["output-also-read"]()
    found = find_divergence(pack(model), make_inputs(model), engine)
    assert found is not None
    assert (found.effect, found.name) == ("wrong only in the whole graph", "ADD")


def test_small_sums_of_large_values_are_no_fault() -> None:
    # The mean of x - mean(x) is rounding alone.
    def centred(engine: Engine) -> Divergence | None:
        s = Sketch()
        value = s.input(1, 1, T, E)
        rest = s.op("SUB", [value, s.mean(value, [1, 1, T, 1])], [1, 1, T, E], schema.SubOptionsT())
        model = s.model(s.mean(rest, [1, 1, T, 1]))
        return find_divergence(pack(model), make_inputs(model), engine)

    def engine(content: bytes, inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: values + np.float32(1e-7) for name, values in on_cpu(content, inputs).items()}

    assert centred(engine) is None


def test_a_model_without_signature_cannot_be_bisected() -> None:
    model = RIGHT()
    model.signatureDefs = []
    with pytest.raises(InputError, match="no signature, so its inputs have no names"):
        find_divergence(pack(model), {}, on_cpu)
    with pytest.raises(InputError, match="no signature 'other'; it has serving_default"):
        find_divergence(pack(RIGHT()), {}, on_cpu, key="other")
    with pytest.raises(InputError, match="the inputs x0 are missing"):
        find_divergence(pack(RIGHT()), {}, on_cpu)


# On the runtimes themselves.


def on_delegate(content: bytes, inputs: dict[str, Any], path: Path) -> dict[str, Any]:
    path.write_bytes(content)
    try:
        result = gpu_delegate.run(path, inputs, maker="mali")
    except RigError as error:
        raise DeviceError(str(error)) from error
    if result.error:
        raise DeviceError(result.error + result.log)
    return result.outputs[0]


@pytest.fixture
def delegate(tmp_path: Path) -> Engine:
    gpu_delegate.ANDROID.require()
    gpu_delegate.OPENCL.require()
    return lambda content, inputs: on_delegate(content, inputs, tmp_path / "cut.tflite")


@pytest.fixture
def gpu(software_gpu: None) -> Engine:
    """The product's own engine, on a GPU that is a program."""
    engine, limit, device = gpu_engine("gpu")
    assert (limit, "SwiftShader" in device) == (2e-5, True)
    return engine


def surrounded(name: str, value: Callable[[Sketch, int], int]) -> tuple[bytes, dict[str, Any]]:
    """Return a graph with something in its middle, on one of two branches."""
    s = Sketch()
    start = s.op("TANH", [s.dense(s.input(T, E), T, E)], [T, E])
    side = s.op("NEG", [start], [T, E])
    middle = value(s, s.dense(start, T, E))
    model = s.model(s.dense(s.add(s.op("TANH", [middle], [T, E]), side, [T, E]), T, E))
    return pack(model), make_inputs(model)


def with_rows(s: Sketch, value: int) -> int:
    return s.add(value, s.weights(T, E), [T, E])


def with_tanh_gelu(s: Sketch, value: int) -> int:
    value = s.op("TANH", [value], [T, E])
    return s.op("GELU", [value], [T, E], schema.GeluOptionsT(approximate=True))


def with_swapped_halves(s: Sketch, value: int) -> int:
    options = schema.SplitOptionsT(numSplits=2)
    halves = s.ops("SPLIT", [s.ints(1), value], [[T, E // 2]] * 2, options)
    return s.op("CONCATENATION", halves[::-1], [T, E], schema.ConcatenationOptionsT(axis=1))


def with_square_by_product(s: Sketch, value: int) -> int:
    value = s.reshape(value, 1, 1, T, E)
    value = s.op("SLICE", [value, s.ints(0, 0, 0, 0), s.ints(1, 1, T, T)], [1, 1, T, T])
    value = s.product(value, value, [1, 1, T, T])
    joined = s.op(
        "CONCATENATION", [value, value], [1, 1, T, E], schema.ConcatenationOptionsT(axis=3)
    )
    return s.reshape(joined, T, E)


@pytest.mark.parametrize(
    ("make", "effect", "name"),
    [
        (with_rows, "computed wrong", "ADD"),
        (with_tanh_gelu, "computed wrong", "GELU"),
        (with_swapped_halves, "computed wrong", "CONCATENATION"),
        (with_square_by_product, "refused", "BATCH_MATMUL"),
    ],
)
def test_the_delegate_is_bisected(make: Any, effect: str, name: str, delegate: Engine) -> None:
    found = find_divergence(*surrounded(name, make), delegate)
    assert found is not None
    assert (found.effect, found.name) == (effect, name)


@pytest.mark.parametrize(
    ("make", "effect", "name"),
    [
        (with_rows, "computed wrong", "ADD"),
        pytest.param(
            with_swapped_halves, "computed wrong", "CONCATENATION", marks=pytest.mark.slow
        ),
        (with_square_by_product, "refused", "BATCH_MATMUL"),  # its process ends
    ],
)
def test_the_gpu_is_bisected(make: Any, effect: str, name: str, gpu: Engine) -> None:
    found = find_divergence(*surrounded(name, make), gpu)
    assert found is not None
    assert (found.effect, found.name) == (effect, name)


@pytest.mark.slow
def test_the_graph_for_cpus_is_bisected(gpu: Engine, delegate: Engine) -> None:
    found = find_divergence(UNROLLED, INPUTS, gpu)
    assert found is not None
    assert (found.effect, found.name, found.tensor) == ("computed wrong", "ADD", "embed/14")
    found = find_divergence(UNROLLED, INPUTS, delegate)
    assert found is not None
    assert (found.effect, found.name, found.tensor) == ("refused", "GATHER", "embed/9")


def test_right_graphs_are_right(gpu: Engine, delegate: Engine) -> None:
    for engine in (gpu, delegate):
        assert find_divergence(pack(RIGHT()), make_inputs(RIGHT()), engine) is None
