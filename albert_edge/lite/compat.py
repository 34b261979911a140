"""Make a linked model fit for a runtime of years ago, or say what it has not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from albert_edge.errors import ConversionError
from albert_edge.lite.flatbuffer import builtin_code, pack, parse, schema
from albert_edge.lite.rewriting import compute_in_float, lacks, scaled_by_row, share_scales
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
        share_scales(parsed, graph)
        compute_in_float(parsed, graph, runtime=runtime)
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
            if what := lacks(model, operator, graph=graph, runtime=runtime):
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
        12: values.type == _Type.FLOAT32 and scaled_by_row(weight),
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
