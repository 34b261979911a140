"""Make a linked model fit for a runtime of years ago, or say what it has not."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from albert_edge.errors import ConversionError
from albert_edge.tflite.graph import builtin_code, pack, parse, schema
from albert_edge.tflite.legacy_runtimes import Runtime

__all__ = [
    "dequantize_weights",
    "is_per_channel",
    "legalize",
    "operator_versions",
    "to_per_tensor",
    "unsupported_op",
]

_Op = schema.BuiltinOperator
_Type = schema.TensorType
_NAMES = {value: name for name, value in vars(_Op).items() if name.isupper()}
_UNKNOWN = "an operator of no name"
_KINDS = {value: name for name, value in vars(_Type).items() if name.isupper()}
_WIDENED = (_Type.INT8, _Type.INT16)  # what QUANTIZE makes and DEQUANTIZE takes


def legalize(model: bytes, runtime: Runtime) -> bytes:
    """Return `model` with operators that `runtime` knows.

    Args:
        model: A linked TFLite model, without metadata.
        runtime: What is to run it.

    Raises:
        ConversionError: It needs operators that `runtime` has not.
    """
    parsed = parse(model)
    for graph in parsed.subgraphs:
        to_per_tensor(parsed, graph)
        dequantize_weights(parsed, graph, runtime=runtime)
    _renumber(parsed)
    if unknown := sorted({*_newer(parsed, runtime), *_missing(parsed, runtime)}):
        raise ConversionError(
            f"{runtime.name} cannot run this file, which needs {', '.join(unknown)}; choose "
            f"--quantize {', '.join(runtime.recipes)}."
        )
    return pack(parsed)


def operator_versions(model: bytes) -> dict[str, int]:
    """Return the newest version in `model` of every operator, by the operator's name."""
    return _versions(parse(model))


def _versions(model: Any) -> dict[str, int]:
    versions: dict[str, int] = {}
    for code in model.operatorCodes:
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = (code.customCode or b"").decode() or _NAMES.get(builtin, _UNKNOWN)
        versions[name] = max(versions.get(name, 0), code.version)
    return versions


def _newer(model: Any, runtime: Runtime) -> Iterator[str]:
    for name, version in _versions(model).items():
        if version > (known := runtime.versions.get(name, 0)):
            yield f"{name} version {version} (it knows {known or 'none'})"


def _missing(model: Any, runtime: Runtime) -> Iterator[str]:
    for graph in model.subgraphs:
        for operator in graph.operators:
            if what := unsupported_op(model, operator, graph=graph, runtime=runtime):
                yield what


def _renumber(model: Any) -> None:
    """Give every product the lowest version that has what it needs; list each code once.

    Converters write one version for all operators of a kind: the newest that any of them needs.
    """
    codes: dict[tuple[int, bytes, int], int] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            builtin, code = builtin_code(model, operator), model.operatorCodes[operator.opcodeIndex]
            version = code.version
            if builtin == _Op.FULLY_CONNECTED:
                version = _product_version(graph, operator)
            key = builtin, code.customCode or b"", version
            operator.opcodeIndex = codes.setdefault(key, len(codes))
    model.operatorCodes = [
        schema.OperatorCodeT(
            deprecatedBuiltinCode=min(builtin, _Op.PLACEHOLDER_FOR_GREATER_OP_CODES),
            builtinCode=builtin,
            customCode=custom or None,
            version=version,
        )
        for builtin, custom, version in codes
    ]


def _product_version(graph: Any, product: Any) -> int:
    """Return what TensorFlow's `op_version.cc` gives a FULLY_CONNECTED, where an ALBERT uses it."""
    options, places = product.builtinOptions, [int(index) for index in product.inputs]
    values, weight = (graph.tensors[index] for index in places[:2])
    needs = {
        13: bool(weight.quantization and weight.quantization.detailsType),  # a scale a block
        12: values.type == _Type.FLOAT32 and is_per_channel(weight),
        11: options.quantizedBiasType == _Type.INT32,  # int64, with int16 values, is older
        10: weight.type == _Type.INT4,
        9: options.asymmetricQuantizeInputs,
        7: values.type == weight.type == _Type.INT16,
        6: len(places) == 2,
        5: options.keepNumDims,
        4: values.type == weight.type == _Type.INT8,
        3: values.type != weight.type,
    }
    return next((version for version, needed in needs.items() if needed), 1)


# Compute the same with the operators of a runtime of years ago.
#
# Weights in int8 have one scale a row.  tflite-runtime 2.14 knows that of a product only if its
# inputs are integers too; with float inputs, each row quantized on the fly, it takes one scale for
# the whole weight.  But a row's scale can as well be multiplied in after the product, in float:
#
#     x · (s ⊙ W)ᵀ + b  =  (x · (t W)ᵀ) ⊙ (s / t) + b        W int8 [C, K], s [C], t = max s
#
# So the bytes of the weight stay as they are, and so does the accuracy; what is added is two cheap
# operators a product.  `t`, and not 1, keeps the product in the range of its result, which matters
# where a GPU computes in float16.
#
# An operator that the runtime has in float32, but not in integers, is computed in float32 between
# DEQUANTIZE and QUANTIZE.


def unsupported_op(model: Any, operator: Any, *, graph: Any, runtime: Runtime) -> str:
    """Say what a runtime lacks of an operator, such as "GELU of int16"; nothing if it has it."""
    name = _NAMES.get(builtin_code(model, operator), "")
    places = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
    for kind in sorted({_KINDS[graph.tensors[index].type] for index in places}):
        if name in runtime.lacks.get(kind, ()):
            return f"{name} of {kind.lower()}"
    return ""


def is_per_channel(tensor: Any) -> bool:
    """Tell whether a tensor has more than one scale."""
    return tensor.quantization is not None and np.size(tensor.quantization.scale) > 1


def to_per_tensor(model: Any, graph: Any) -> None:
    """Let every weight that float values are multiplied with have one scale."""
    ratios = {
        index: _requantize_per_tensor(model, graph, index)
        for index in _has_per_channel_weights(model, graph)
    }
    operators = []
    for operator in graph.operators:
        operators.append(operator)
        if builtin_code(model, operator) == _Op.FULLY_CONNECTED and operator.inputs[1] in ratios:
            operators += _scale_back(model, graph, operator, ratios[operator.inputs[1]])
    graph.operators = operators


def _has_per_channel_weights(model: Any, graph: Any) -> list[int]:
    """Find the weights that float values are multiplied with and that have a scale a row."""
    uses = defaultdict(list)
    for operator in graph.operators:
        for place, index in enumerate(operator.inputs):
            uses[int(index)].append((operator, place))
    found = []
    for index, tensor in enumerate(graph.tensors):
        if not is_per_channel(tensor):
            continue
        mixed = [_is_mixed_matmul(model, graph, operator, place) for operator, place in uses[index]]
        if any(mixed) and not all(mixed):
            raise ConversionError(
                f"{tensor.name.decode()} is read by more than its products with float values, "
                "which an old runtime cannot do from one copy of it; leave --compat out."
            )
        if any(mixed):
            found.append(index)
    return found


def _is_mixed_matmul(model: Any, graph: Any, operator: Any, place: int) -> bool:
    values = graph.tensors[operator.inputs[0]]
    is_product = builtin_code(model, operator) == _Op.FULLY_CONNECTED and place == 1
    return is_product and values.type == _Type.FLOAT32


def _requantize_per_tensor(model: Any, graph: Any, index: int) -> int:
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


def _scale_back(model: Any, graph: Any, product: Any, ratios: int) -> Iterator[Any]:
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


def dequantize_weights(model: Any, graph: Any, *, runtime: Runtime) -> None:
    """Let operators that the runtime lacks in integers read and write float32."""
    graph.operators = [
        part
        for operator in graph.operators
        for part in (
            _in_float(model, graph, operator)
            if unsupported_op(model, operator, graph=graph, runtime=runtime)
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
