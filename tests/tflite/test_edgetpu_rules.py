"""The rules of the Edge TPU's compiler agree with what it did to public models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from albert_edge.errors import InputError
from albert_edge.tflite.edgetpu_rules import check_edgetpu, rules
from albert_edge.tflite.graph import schema

# See data/make_edgetpu_pairs.py.
PAIRS = json.loads((Path(__file__).parents[1] / "data/edgetpu_pairs.json").read_text())
CODES = vars(schema.BuiltinOperator)
TYPES = vars(schema.TensorType)
USUAL = {"dilationWFactor": 1, "dilationHFactor": 1}
# Of a tensor: its type and shape, then True for a weight, or the values of a shape or an axis.
Kind = list[Any]
ROWS: Kind = ["int8", [4, 8]]
ROW: Kind = ["int8", [1, 8]]
IMAGE: Kind = ["int8", [1, 4, 4, 8]]


def rebuild(
    kinds: Sequence[Kind], tensors: Sequence[int], operators: Sequence[Any], graphs: int = 1
) -> Any:
    """Return a graph of these shapes, types and options, its weights a byte each."""
    buffers, stored, codes = [schema.BufferT(data=None)], [], []
    for number in tensors:
        name, shape, *values = kinds[number]
        data = b"" if not values else b"\1" if values == [True] else as_bytes(values[0])
        buffers.append(schema.BufferT(data=data or None))
        stored.append(schema.TensorT(shape=shape, type=TYPES[name.upper()]))
        stored[-1].buffer = len(buffers) - 1
        if values == [True]:
            stored[-1].quantization = schema.QuantizationParametersT(scale=[1.0], zeroPoint=[0])
    found = []
    for name, version, options, inputs, outputs, *_ in operators:
        code = CODES.get(name, schema.BuiltinOperator.CUSTOM)
        custom = None if name in CODES else name.encode()
        codes.append(schema.OperatorCodeT(builtinCode=code, customCode=custom, version=version))
        found.append(schema.OperatorT(opcodeIndex=len(codes) - 1, inputs=inputs, outputs=outputs))
        found[-1].builtinOptions = SimpleNamespace(**USUAL | options)
    graph = schema.SubGraphT(tensors=stored, operators=found, inputs=[0], outputs=[])
    return schema.ModelT(subgraphs=[graph] * graphs, buffers=buffers, operatorCodes=codes)


def as_bytes(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(4, "little", signed=True) for value in values)


def single(
    name: str, *inputs: Kind, to: Kind, version: int = 1, more: Sequence[Kind] = (), **options: int
) -> Any:
    """Return a graph of one operator."""
    kinds = [*inputs, to, *more]
    numbers = list(range(len(kinds)))
    operator = (name, version, options, numbers[: len(inputs)], numbers[len(inputs) :])
    return rebuild(kinds, numbers, [operator])


@pytest.mark.parametrize("pair", PAIRS, ids=[pair["model"] for pair in PAIRS])
def test_a_public_model(pair: dict[str, Any]) -> None:
    figures = check_edgetpu(rebuild(pair["kinds"], pair["tensors"], pair["operators"]))
    ours = [one["runs_on"] == "Edge TPU" for one in figures["findings"]]
    assert ours == [mapped for *_, mapped in pair["operators"]]
    assert figures["compiles"]
    assert figures["mapped"] == sum(ours)
    assert figures["transfers"]["calls"] == 1


def test_there_are_enough_public_models() -> None:
    operators = [one for pair in PAIRS for one in pair["operators"]]
    assert len(PAIRS) >= 20
    assert sum(not mapped for *_, mapped in operators) >= 100
    assert len({name for name, *_ in operators}) >= 25


# For each rule an operator that meets it, and one that differs in this alone and is mapped.
WEIGHT: Kind = ["int8", [8, 8], True]
FILTER: Kind = ["int8", [8, 1, 1, 8], True]
CASES: dict[str, tuple[Any, Any]] = {
    "unknown-to-compiler": (
        single("CONV_2D", IMAGE, FILTER, to=IMAGE, version=6),
        single("CONV_2D", IMAGE, FILTER, to=IMAGE, version=5),
    ),
    "not-int8": (
        single("TANH", ["float32", [1, 8]], to=["float32", [1, 8]]),
        single("TANH", ["uint8", [1, 8]], to=["uint8", [1, 8]]),
    ),
    "not-mapped": (single("EXP", ROW, to=ROW), single("TANH", ROW, to=ROW)),
    "transpose": (
        single("TRANSPOSE", ROWS, ["int32", [2], [1, 0]], to=["int8", [8, 4]]),
        single("RESHAPE", ROWS, ["int32", [2], [8, 4]], to=["int8", [8, 4]]),
    ),
    "four-dimensions": (
        single("TANH", ["int8", [2, 4, 4, 8]], to=["int8", [2, 4, 4, 8]]),
        single("TANH", ["int8", [1, 4, 4, 8]], to=["int8", [1, 4, 4, 8]]),
    ),
    "product-of-rows": (
        single("FULLY_CONNECTED", ROWS, WEIGHT, to=ROWS),
        single("FULLY_CONNECTED", ROW, WEIGHT, to=ROW),
    ),
    "computed-weight": (
        single("FULLY_CONNECTED", ROW, ["int8", [8, 8]], to=ROW),
        single("FULLY_CONNECTED", ROW, WEIGHT, to=ROW),
    ),
    "weights-format": (
        single("FULLY_CONNECTED", ROW, WEIGHT, to=ROW, weightsFormat=1),
        single("FULLY_CONNECTED", ROW, WEIGHT, to=ROW),
    ),
    "softmax-of-rows": (single("SOFTMAX", ROWS, to=ROWS), single("SOFTMAX", ROW, to=ROW)),
    "softmax-size": (
        single("SOFTMAX", ["int8", [1, 16_001]], to=["int8", [1, 16_001]]),
        single("SOFTMAX", ["int8", [1, 16_000]], to=["int8", [1, 16_000]]),
    ),
    "fused-activation": (
        single("MAX_POOL_2D", IMAGE, to=IMAGE, fusedActivationFunction=1),
        single("MAX_POOL_2D", IMAGE, to=IMAGE),
    ),
    "joined-constant": (
        single("CONCATENATION", ["int8", [1, 3]], ["int8", [1, 1], True], to=["int8", [1, 4]]),
        single("CONCATENATION", ["int8", [1, 3]], ["int8", [1, 1]], to=["int8", [1, 4]]),
    ),
    "unequal-dilation": (
        single("CONV_2D", IMAGE, FILTER, to=IMAGE, dilationWFactor=2),
        single("CONV_2D", IMAGE, FILTER, to=IMAGE, dilationWFactor=2, dilationHFactor=2),
    ),
    "batch-axis": (
        single("MEAN", IMAGE, ["int32", [1], [0]], to=["int8", [4, 4, 8]]),
        single("MEAN", IMAGE, ["int32", [1], [1]], to=["int8", [1, 4, 8]]),
    ),
    "mean-of-channels": (
        single("MEAN", ["int8", [1, 4, 6]], ["int32", [1], [2]], to=["int8", [1, 4, 1]]),
        single("MEAN", ["int8", [1, 4, 8]], ["int32", [1], [-1]], to=["int8", [1, 4, 1]]),
    ),
    "strides": (
        single("STRIDED_SLICE", ROWS, *[["int32", [2], [1, 2]]] * 3, to=ROW),
        single("STRIDED_SLICE", ROWS, *[["int32", [2], [1, 1]]] * 3, to=ROW),
    ),
    "squeeze": (
        single("SQUEEZE", ["int8", [5, 1, 8]], to=["int8", [5, 8]]),
        single("SQUEEZE", ["int8", [1, 5, 8]], to=["int8", [5, 8]]),
    ),
    "prelu-slopes": (
        single("PRELU", IMAGE, ["int8", [4, 4, 8], True], to=IMAGE),
        single("PRELU", IMAGE, ["int8", [1, 1, 8], True], to=IMAGE),
    ),
    "large-resize": (
        single("RESIZE_BILINEAR", IMAGE, ["int32", [2], [36, 36]], to=["int8", [1, 36, 36, 8]]),
        single("RESIZE_BILINEAR", IMAGE, ["int32", [2], [32, 32]], to=["int8", [1, 32, 32, 8]]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule(name: str) -> None:
    wrong, right = (check_edgetpu(model) for model in CASES[name])
    assert [one["rule"] for one in wrong["findings"]] == [name]
    assert wrong["mapped"] == 0
    assert wrong["transfers"] == {"calls": 0, "input_bytes": 0, "output_bytes": 0}
    assert [one["rule"] for one in right["findings"]] == [None]
    assert right["mapped"] == 1
    assert wrong["compiles"] is (name != "unknown-to-compiler")


@pytest.mark.parametrize(
    ("other", "axis"),
    [("PACK", {"axis": 0}), ("SPLIT", {}), ("PAD", {})],
)
def test_other_operators_of_the_batch(other: str, axis: dict[str, int]) -> None:
    zero: Kind = ["int32", [], [0]]
    models = {
        "PACK": single("PACK", *[["int8", [4, 4, 8]]] * 2, to=["int8", [2, 4, 4, 8]], **axis),
        "SPLIT": single("SPLIT", zero, ["int8", [1, 1, 1, 8]], to=ROW, more=[ROW]),
        "PAD": single("PAD", IMAGE, ["int32", [4, 2], [1, 0, 0, 0, 0, 0, 0, 0]], to=IMAGE),
    }
    found = check_edgetpu(models[other])["findings"][0]["rule"]
    assert found == ("four-dimensions" if other == "PACK" else "batch-axis")


def test_what_follows_the_cpu_stays_there() -> None:
    # A quantizer, the chip, the CPU, and an operator that the chip could compute.
    kinds = [["float32", [1, 8]], ROW]
    operators = [
        ("QUANTIZE", 1, {}, [0], [1]),
        ("TANH", 1, {}, [1], [2]),
        ("EXP", 1, {}, [2], [3]),
        ("TANH", 1, {}, [3], [4]),
        ("LOGISTIC", 1, {}, [2], [5]),  # beside the CPU, not behind it
    ]
    figures = check_edgetpu(rebuild(kinds, [0, 1, 1, 1, 1, 1], operators))
    assert [one["rule"] for one in figures["findings"]] == [
        *("not-int8", None, "not-mapped", "behind-the-cpu", None)
    ]
    assert [(one["name"], one["runs_on"]) for one in figures["kinds"]] == [
        *(("QUANTIZE", "CPU"), ("EXP", "CPU"), ("TANH", "CPU")),
        *(("TANH", "Edge TPU"), ("LOGISTIC", "Edge TPU")),
    ]
    # In: the quantized row. Out: the row that EXP reads, and LOGISTIC's, which nothing reads.
    assert figures["transfers"] == {"calls": 1, "input_bytes": 8, "output_bytes": 8}


def test_a_weight_of_several_operators_is_stored_for_each() -> None:
    kinds = [["int8", [1, 1, 1, 8]], FILTER, ["int32", [8], True]]
    operators = [("CONV_2D", 3, {}, [0, 1, 2], [3]), ("CONV_2D", 3, {}, [3, 1, 2], [4])]
    model = rebuild(kinds, [0, 1, 2, 0, 0], operators)
    model.buffers[model.subgraphs[0].tensors[1].buffer].data = bytes(64)
    model.buffers[model.subgraphs[0].tensors[2].buffer].data = bytes(32)
    figures = check_edgetpu(model)
    assert figures["weights"] | {"cache_bytes": 0} == {
        "bytes": 2 * (64 + 32),
        "stored_bytes": 64 + 32,
        "cache_bytes": 0,
        "streamed_bytes": 0,
        "duplicated": True,
    }
    assert figures["multiply_adds"] == 2 * 64


def test_weights_beyond_the_chip_are_streamed() -> None:
    size = 9 << 20
    kinds = [["int8", [1, 1, 1, 8]], ["int8", [size // 8, 1, 1, 8], True]]
    kinds.append(["int8", [1, 1, 1, size // 8]])
    model = rebuild(kinds, [0, 1, 2], [("CONV_2D", 3, {}, [0, 1], [2])])
    model.buffers[2].data = bytes(size)
    figures = check_edgetpu(model)["weights"]
    assert figures["bytes"] == size
    assert figures["streamed_bytes"] == size - figures["cache_bytes"] > 0


def test_loops_and_free_lengths_are_not_compiled() -> None:
    loop = check_edgetpu(single("WHILE", ROW, to=ROW))
    assert loop["findings"][0]["rule"] == "several-subgraphs"
    assert not loop["compiles"]
    assert not check_edgetpu(rebuild([ROW], [0, 0], [("TANH", 1, {}, [0], [1])], 2))["compiles"]
    free = single("TANH", ROWS, to=ROWS)
    free.subgraphs[0].tensors[0].shapeSignature = [-1, 8]
    assert check_edgetpu(free)["findings"][0]["rule"] == "any-length"


def test_a_compiled_model_is_not_checked() -> None:
    with pytest.raises(InputError, match="was compiled for the Edge TPU already"):
        check_edgetpu(single("edgetpu-custom-op", ROW, to=ROW))


def test_every_rule_is_tested_and_has_evidence() -> None:
    named = {rule.name for rule in rules()}
    others = {"several-subgraphs", "any-length", "behind-the-cpu"}
    assert named == {*CASES, *others}
    models = {Path(pair["model"]).stem for pair in PAIRS}
    for rule in rules():
        assert rule.evidence, rule.name
        assert set(rule.pairs) <= models, rule.name
