"""Compute the same with the operators of a runtime of years ago.

Weights in int8 have one scale a row.  tflite-runtime 2.14 knows that of a product only if its
inputs are integers too; with float inputs, each row quantized on the fly, it takes one scale for
the whole weight.  But a row's scale can as well be multiplied in after the product, in float:

    x · (s ⊙ W)ᵀ + b  =  (x · (t W)ᵀ) ⊙ (s / t) + b        W int8 [C, K], s [C], t = max s

So the bytes of the weight stay as they are, and so does the accuracy; what is added is two cheap
operators a product.  `t`, and not 1, keeps the product in the range of its result, which matters
where a GPU computes in float16.

An operator that the runtime has in float32, but not in integers, is computed in float32 between
DEQUANTIZE and QUANTIZE.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from albert_edge.errors import ConversionError
from albert_edge.lite.flatbuffer import builtin_code, schema
from albert_edge.lite.runtimes import Runtime

__all__ = ["compute_in_float", "lacks", "scaled_by_row", "share_scales"]

_Op = schema.BuiltinOperator
_Type = schema.TensorType
_NAMES = {value: name for name, value in vars(_Op).items() if name.isupper()}
_KINDS = {value: name for name, value in vars(_Type).items() if name.isupper()}
_WIDENED = (_Type.INT8, _Type.INT16)  # what QUANTIZE makes and DEQUANTIZE takes


def lacks(model: Any, operator: Any, *, graph: Any, runtime: Runtime) -> str:
    """Say what a runtime lacks of an operator, such as "GELU of int16"; nothing if it has it."""
    name = _NAMES.get(builtin_code(model, operator), "")
    places = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
    for kind in sorted({_KINDS[graph.tensors[index].type] for index in places}):
        if name in runtime.lacks.get(kind, ()):
            return f"{name} of {kind.lower()}"
    return ""


def scaled_by_row(tensor: Any) -> bool:
    """Tell whether a tensor has more than one scale."""
    return tensor.quantization is not None and np.size(tensor.quantization.scale) > 1


def share_scales(model: Any, graph: Any) -> None:
    """Let every weight that float values are multiplied with have one scale."""
    ratios = {
        index: _share_scale(model, graph, index) for index in _weights_scaled_by_row(model, graph)
    }
    operators = []
    for operator in graph.operators:
        operators.append(operator)
        if builtin_code(model, operator) == _Op.FULLY_CONNECTED and operator.inputs[1] in ratios:
            operators += _multiply_in(model, graph, operator, ratios[operator.inputs[1]])
    graph.operators = operators


def _weights_scaled_by_row(model: Any, graph: Any) -> list[int]:
    """Find the weights that float values are multiplied with and that have a scale a row."""
    uses = defaultdict(list)
    for operator in graph.operators:
        for place, index in enumerate(operator.inputs):
            uses[int(index)].append((operator, place))
    found = []
    for index, tensor in enumerate(graph.tensors):
        if not scaled_by_row(tensor):
            continue
        mixed = [
            _is_mixed_product(model, graph, operator, place) for operator, place in uses[index]
        ]
        if any(mixed) and not all(mixed):
            raise ConversionError(
                f"{tensor.name.decode()} is read by more than its products with float values, "
                "which an old runtime cannot do from one copy of it; leave --compat out."
            )
        if any(mixed):
            found.append(index)
    return found


def _is_mixed_product(model: Any, graph: Any, operator: Any, place: int) -> bool:
    values = graph.tensors[operator.inputs[0]]
    is_product = builtin_code(model, operator) == _Op.FULLY_CONNECTED and place == 1
    return is_product and values.type == _Type.FLOAT32


def _share_scale(model: Any, graph: Any, index: int) -> int:
    """Give a weight its largest scale alone; add the rows' ratios to it, float32 [C]."""
    tensor = graph.tensors[index]
    scales = np.asarray(tensor.quantization.scale, np.float32)
    largest = scales.max() or np.float32(1)
    tensor.quantization = schema.QuantizationParametersT(scale=[largest], zeroPoint=[0])
    ratios = scales / largest
    model.buffers.append(schema.BufferT(data=ratios.tobytes()))
    graph.tensors.append(
        schema.TensorT(
            name=tensor.name + b"/ratios",
            type=_Type.FLOAT32,
            shape=[len(ratios)],
            buffer=len(model.buffers) - 1,
            hasRank=True,
        )
    )
    return len(graph.tensors) - 1


def _multiply_in(model: Any, graph: Any, product: Any, ratios: int) -> Iterator[Any]:
    """Take bias and activation out of a product; yield the operators that then follow it."""
    (result,), activation = product.outputs, product.builtinOptions.fusedActivationFunction
    values, weight, *rest = map(int, product.inputs)
    steps = [(_Op.MUL, schema.MulOptionsT(), ratios)]
    if rest and rest[0] >= 0:
        steps.append((_Op.ADD, schema.AddOptionsT(), rest[0]))
    steps[-1][1].fusedActivationFunction = activation
    product.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
    product.inputs = [values, weight, -1]
    product.outputs = [_like(graph, result, b"/product")]
    (previous,) = product.outputs
    for builtin, options, constant in steps:
        last = builtin == steps[-1][0]
        following = int(result) if last else _like(graph, result, b"/scaled")
        yield _operator(model, builtin, [previous, constant], following, options)
        previous = following


def compute_in_float(model: Any, graph: Any, *, runtime: Runtime) -> None:
    """Let operators that the runtime lacks in integers read and write float32."""
    graph.operators = [
        part
        for operator in graph.operators
        for part in (
            _in_float(model, graph, operator)
            if lacks(model, operator, graph=graph, runtime=runtime)
            else [operator]
        )
    ]


def _in_float(model: Any, graph: Any, operator: Any) -> Iterator[Any]:
    """Yield an operator between those that widen what it reads and narrow what it writes."""
    widened, narrowed = ({
        int(index): _like(graph, index, b"/float", kind=_Type.FLOAT32)
        for index in indices
        if index >= 0 and graph.tensors[index].type in _WIDENED
    } for indices in (operator.inputs, operator.outputs))  # fmt: skip
    for index, wide in widened.items():
        yield _operator(model, _Op.DEQUANTIZE, [index], wide, schema.DequantizeOptionsT(), 3)
    operator.inputs = [widened.get(int(index), int(index)) for index in operator.inputs]
    operator.outputs = [narrowed.get(int(index), int(index)) for index in operator.outputs]
    if widened or narrowed:
        code = copy.copy(model.operatorCodes[operator.opcodeIndex])
        code.version = 1
        model.operatorCodes.append(code)
        operator.opcodeIndex = len(model.operatorCodes) - 1
    yield operator
    for index, wide in narrowed.items():
        yield _operator(model, _Op.QUANTIZE, [wide], index, schema.QuantizeOptionsT(), 3)


def _like(graph: Any, index: int, suffix: bytes, *, kind: int | None = None) -> int:
    """Add a computed tensor like another; of a `kind` of its own if one is given."""
    tensor = copy.copy(graph.tensors[index])
    tensor.name, tensor.buffer = tensor.name + suffix, 0
    if kind is not None:
        tensor.type, tensor.quantization = kind, None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(
    model: Any, builtin: int, inputs: list[int], output: int, options: Any, version: int = 1
) -> Any:
    model.operatorCodes.append(schema.OperatorCodeT(builtinCode=builtin, version=version))
    return schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1,
        inputs=inputs,
        outputs=[output],
        builtinOptionsType=getattr(schema.BuiltinOptions, type(options).__name__[:-1]),
        builtinOptions=options,
    )
