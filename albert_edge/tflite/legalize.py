"""Lower a linked model to the operators of an older TFLite runtime, or report those it lacks.

Weights in int8 have one scale a row.  tflite-runtime 2.14 supports that in FULLY_CONNECTED only if
its inputs are integers too; with float inputs, each row quantized on the fly, it supports one scale
for the whole weight.  But a row's scale can also be multiplied in after the product, in float:

    x · (s ⊙ W)ᵀ + b  =  (x · (t W)ᵀ) ⊙ (s / t) + b        W int8 [C, K], s [C], t = max s

So the bytes of the weight stay as they are, and so does the accuracy; two cheap operators a product
are added.  `t`, and not 1, keeps the product in the range of its result, which matters where a GPU
computes in float16.

An operator that the runtime supports in float32, but not in integers, is computed in float32
between DEQUANTIZE and QUANTIZE.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from albert_edge.errors import ConversionError
from albert_edge.tflite.graph import (
    OPERATOR_NAMES,
    TYPE_NAMES,
    builtin_code,
    copy_model,
    operator_code,
    schema,
)
from albert_edge.tflite.legacy_runtimes import Runtime

_Op = schema.BuiltinOperator
_Type = schema.TensorType
_QUANTIZED = (_Type.INT8, _Type.INT16)  # the types that QUANTIZE writes and DEQUANTIZE reads


def legalize(model: Any, runtime: Runtime) -> Any:
    """Return a copy of `model` with only operators that `runtime` supports.

    Args:
        model: The parsed `schema.ModelT` of a linked model, without metadata.
        runtime: The runtime to lower to.

    Raises:
        ConversionError: The model needs operators that `runtime` lacks.
    """
    model = copy_model(model)
    added: dict[bytes, int] = {}  # a constant that several graphs read is one buffer
    for graph in model.subgraphs:
        _to_per_tensor(model, graph, added)
        _compute_in_float(model, graph, runtime=runtime)
    _renumber(model)
    if lacking := sorted({*_newer(model, runtime), *_unsupported(model, runtime)}):
        raise ConversionError(
            f"{runtime.name} does not support {', '.join(lacking)}, which this file needs; choose "
            f"--quantize {', '.join(runtime.recipes)}."
        )
    return model


def operator_versions(model: Any) -> dict[str, int]:
    """Return the newest version in a parsed model of every operator, by the operator's name."""
    versions: dict[str, int] = {}
    for code in model.operatorCodes:
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = (code.customCode or b"").decode() or OPERATOR_NAMES.get(builtin, "unnamed operator")
        versions[name] = max(versions.get(name, 0), code.version)
    return versions


def _newer(model: Any, runtime: Runtime) -> Iterator[str]:
    for name, version in operator_versions(model).items():
        if version > (known := runtime.versions.get(name, 0)):
            yield f"{name} version {version} (newest supported: {known or 'none'})"


def _unsupported(model: Any, runtime: Runtime) -> Iterator[str]:
    for graph in model.subgraphs:
        for operator in graph.operators:
            if unsupported := _unsupported_op(model, operator, graph=graph, runtime=runtime):
                yield unsupported


def _renumber(model: Any) -> None:
    """Set every FULLY_CONNECTED to the lowest version that it needs; list each code once.

    Converters write one version for all operators of a kind: the newest that any of them needs.
    """
    codes: dict[tuple[int, bytes, int], int] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            builtin, code = builtin_code(model, operator), model.operatorCodes[operator.opcodeIndex]
            version = code.version
            if builtin == _Op.FULLY_CONNECTED:
                version = _fully_connected_version(graph, operator)
            key = builtin, code.customCode or b"", version
            operator.opcodeIndex = codes.setdefault(key, len(codes))
    model.operatorCodes = [operator_code(*key) for key in codes]


def _fully_connected_version(graph: Any, operator: Any) -> int:
    """Return the version of an ALBERT's FULLY_CONNECTED by TensorFlow's `op_version.cc`."""
    options, inputs = operator.builtinOptions, [int(index) for index in operator.inputs]
    values, weight = (graph.tensors[index] for index in inputs[:2])
    needs = {
        13: bool(weight.quantization and weight.quantization.detailsType),  # a scale a block
        12: values.type == _Type.FLOAT32 and _is_per_channel(weight),
        11: options.quantizedBiasType == _Type.INT32,  # int64, with int16 values, is older
        10: weight.type == _Type.INT4,
        9: options.asymmetricQuantizeInputs,
        7: values.type == weight.type == _Type.INT16,
        6: len(inputs) == 2,
        5: options.keepNumDims,
        4: values.type == weight.type == _Type.INT8,
        3: values.type != weight.type,
    }
    return next((version for version, needed in needs.items() if needed), 1)


def _unsupported_op(model: Any, operator: Any, *, graph: Any, runtime: Runtime) -> str:
    """Return "GELU of int16" if the runtime does not support that, else ""."""
    name = OPERATOR_NAMES.get(builtin_code(model, operator), "")
    tensors = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
    for kind in sorted({TYPE_NAMES[graph.tensors[index].type] for index in tensors}):
        if name in runtime.lacks.get(kind, ()):
            return f"{name} of {kind.lower()}"
    return ""


def _is_per_channel(tensor: Any) -> bool:
    """Return whether a tensor has more than one scale."""
    return tensor.quantization is not None and np.size(tensor.quantization.scale) > 1


def _to_per_tensor(model: Any, graph: Any, added: dict[bytes, int]) -> None:
    """Requantize every weight that is multiplied with float values to a single scale."""
    ratios = {
        index: _requantize_per_tensor(model, graph, index, added)
        for index in _per_channel_weights(model, graph)
    }
    operators = []
    for operator in graph.operators:
        operators.append(operator)
        if builtin_code(model, operator) == _Op.FULLY_CONNECTED and operator.inputs[1] in ratios:
            operators += _scale_back(model, graph, operator, ratios[operator.inputs[1]])
    graph.operators = operators


def _per_channel_weights(model: Any, graph: Any) -> list[int]:
    """Return the weights with a scale a row that are multiplied with float values."""
    uses = defaultdict(list)
    for operator in graph.operators:
        for position, index in enumerate(operator.inputs):
            uses[int(index)].append((operator, position))
    found = []
    for index, tensor in enumerate(graph.tensors):
        if not _is_per_channel(tensor):
            continue
        mixed = [
            _is_mixed_matmul(model, graph, operator, position) for operator, position in uses[index]
        ]
        if any(mixed) and not all(mixed):
            raise ConversionError(
                f"{tensor.name.decode()} is read by other operators than FULLY_CONNECTED of float "
                "values, so it cannot be given one scale for an older runtime; leave --compat out."
            )
        if any(mixed):
            found.append(index)
    return found


def _is_mixed_matmul(model: Any, graph: Any, operator: Any, position: int) -> bool:
    values = graph.tensors[operator.inputs[0]]
    is_product = builtin_code(model, operator) == _Op.FULLY_CONNECTED and position == 1
    return is_product and values.type == _Type.FLOAT32


def _requantize_per_tensor(model: Any, graph: Any, index: int, added: dict[bytes, int]) -> int:
    """Set a weight's scale to its largest; add each row's scale over it as a constant [C]."""
    tensor = graph.tensors[index]
    scales = np.asarray(tensor.quantization.scale, np.float32)
    largest = scales.max() or np.float32(1)
    tensor.quantization = schema.QuantizationParametersT(scale=[largest], zeroPoint=[0])
    ratios = scales / largest
    if (data := ratios.tobytes()) not in added:
        added[data] = len(model.buffers)
        model.buffers.append(schema.BufferT(data=data))
    graph.tensors.append(
        schema.TensorT(
            name=tensor.name + b"/ratios",
            type=_Type.FLOAT32,
            shape=[len(ratios)],
            buffer=added[data],
            hasRank=True,
        )
    )
    return len(graph.tensors) - 1


def _scale_back(model: Any, graph: Any, product: Any, ratios: int) -> Iterator[Any]:
    """Remove bias and activation from a product; yield operators that rescale and apply them."""
    (result,), activation = product.outputs, product.builtinOptions.fusedActivationFunction
    values, weight, *rest = map(int, product.inputs)
    after = [(_Op.MUL, schema.MulOptionsT(), ratios)]
    if rest and rest[0] >= 0:
        after.append((_Op.ADD, schema.AddOptionsT(), rest[0]))
    after[-1][1].fusedActivationFunction = activation
    product.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
    product.inputs = [values, weight, -1]
    product.outputs = [_like(graph, result, b"/product")]
    (previous,) = product.outputs
    for builtin, options, constant in after:
        last = builtin == after[-1][0]
        following = int(result) if last else _like(graph, result, b"/scaled")
        yield _operator(model, builtin, [previous, constant], following, options)
        previous = following


def _compute_in_float(model: Any, graph: Any, *, runtime: Runtime) -> None:
    """Compute operators that the runtime supports only in float32 in float32."""
    graph.operators = [
        part
        for operator in graph.operators
        for part in (
            _in_float(model, graph, operator)
            if _unsupported_op(model, operator, graph=graph, runtime=runtime)
            else [operator]
        )
    ]


def _in_float(model: Any, graph: Any, operator: Any) -> Iterator[Any]:
    """Yield an operator between a DEQUANTIZE of each input and a QUANTIZE of each output."""
    dequantized, quantized = ({
        int(index): _like(graph, index, b"/float", kind=_Type.FLOAT32)
        for index in indices
        if index >= 0 and graph.tensors[index].type in _QUANTIZED
    } for indices in (operator.inputs, operator.outputs))  # fmt: skip
    for index, floats in dequantized.items():
        yield _operator(model, _Op.DEQUANTIZE, [index], floats, schema.DequantizeOptionsT(), 3)
    operator.inputs = [dequantized.get(int(index), int(index)) for index in operator.inputs]
    operator.outputs = [quantized.get(int(index), int(index)) for index in operator.outputs]
    if dequantized or quantized:
        code = copy.copy(model.operatorCodes[operator.opcodeIndex])
        code.version = 1
        model.operatorCodes.append(code)
        operator.opcodeIndex = len(model.operatorCodes) - 1
    yield operator
    for index, floats in quantized.items():
        yield _operator(model, _Op.QUANTIZE, [floats], index, schema.QuantizeOptionsT(), 3)


def _like(graph: Any, index: int, suffix: bytes, *, kind: int | None = None) -> int:
    """Add a computed tensor of the shape of another, and of its type unless `kind` is given."""
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
