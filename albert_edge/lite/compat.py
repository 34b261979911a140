"""Rewrite a linked model for a runtime of years ago: older operators that compute the same.

Weights in int8 have one scale a row.  Runtimes before 2.15 know that of a product only if its
inputs are integers too; with float inputs, each row quantized on the fly, they take one scale for
the whole weight (and would silently use the first).  But a row's scale can as well be multiplied in
after the product, in float:

    x · (s ⊙ W)ᵀ + b  =  (x · (t W)ᵀ) ⊙ (s / t) + b        W int8 [C, K], s [C], t = max s

So the bytes of the weight stay as they are, and so does the accuracy; what is added is two cheap
operators a product.  `t`, and not 1, keeps the product in the range of its result, which matters
where a GPU computes in float16.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from albert_edge.errors import ConversionError
from albert_edge.lite.flatbuffer import builtin_code, pack, parse, schema
from albert_edge.lite.runtimes import Runtime

__all__ = ["lower", "operator_versions"]

_Op = schema.BuiltinOperator
_Type = schema.TensorType
_NAMES = {value: name for name, value in vars(_Op).items() if name.isupper()}
_UNKNOWN = "an operator of no name"


def lower(model: bytes, runtime: Runtime) -> bytes:
    """Return `model` with operators that `runtime` knows.

    Args:
        model: A linked TFLite model, without metadata.
        runtime: What is to run it.

    Raises:
        ConversionError: It needs operators that `runtime` has not.
    """
    parsed = parse(model)
    for graph in parsed.subgraphs:
        _share_scales(parsed, graph)
    _renumber(parsed)
    blob = pack(parsed)
    if newer := [
        f"{name} version {version} (it knows {runtime.versions.get(name, 0) or 'none'})"
        for name, version in operator_versions(blob).items()
        if version > runtime.versions.get(name, 0)
    ]:
        raise ConversionError(
            f"{runtime.name} cannot run this file, which needs {', '.join(newer)}; choose "
            f"--quantize {', '.join(runtime.recipes)}."
        )
    return blob


def operator_versions(model: bytes) -> dict[str, int]:
    """Return the newest version in `model` of every operator, by the operator's name."""
    versions: dict[str, int] = {}
    for code in parse(model).operatorCodes:
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = (code.customCode or b"").decode() or _NAMES.get(builtin, _UNKNOWN)
        versions[name] = max(versions.get(name, 0), code.version)
    return versions


def _share_scales(model: Any, graph: Any) -> None:
    """Let every weight that float values are multiplied with have one scale."""
    ratios = {index: _share_scale(model, graph, index) for index in _scaled_by_row(model, graph)}
    operators = []
    for operator in graph.operators:
        operators.append(operator)
        if builtin_code(model, operator) == _Op.FULLY_CONNECTED and operator.inputs[1] in ratios:
            operators += _multiply_in(model, graph, operator, ratios[operator.inputs[1]])
    graph.operators = operators


def _scaled_by_row(model: Any, graph: Any) -> list[int]:
    """Find the weights that float values are multiplied with and that have a scale a row."""
    uses = defaultdict(list)
    for operator in graph.operators:
        for place, index in enumerate(operator.inputs):
            uses[int(index)].append((operator, place))
    found = []
    for index, tensor in enumerate(graph.tensors):
        if not _is_scaled_by_row(tensor):
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


def _is_scaled_by_row(tensor: Any) -> bool:
    return tensor.quantization is not None and np.size(tensor.quantization.scale) > 1


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


def _like(graph: Any, index: int, suffix: bytes) -> int:
    tensor = copy.copy(graph.tensors[index])
    tensor.name = tensor.name + suffix
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(model: Any, builtin: int, inputs: list[int], output: int, options: Any) -> Any:
    model.operatorCodes.append(schema.OperatorCodeT(builtinCode=builtin, version=1))
    return schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1,
        inputs=inputs,
        outputs=[output],
        builtinOptionsType=getattr(schema.BuiltinOptions, type(options).__name__[:-1]),
        builtinOptions=options,
    )


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
        12: values.type == _Type.FLOAT32 and _is_scaled_by_row(weight),
        11: options.quantizedBiasType != _Type.FLOAT32,
        10: weight.type == _Type.INT4,
        9: options.asymmetricQuantizeInputs,
        7: values.type == weight.type == _Type.INT16,
        6: len(places) == 2,
        5: options.keepNumDims,
        4: values.type == weight.type == _Type.INT8,
        3: values.type != weight.type,
    }
    return next((version for version, needed in needs.items() if needed), 1)
