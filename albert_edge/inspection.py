"""Show what is in a `.tflite` file: operators, weights and how they are shared, piece by piece."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from albert_edge.bundle.archive import locate
from albert_edge.bundle.bundle import Bundle, model_bytes, read
from albert_edge.errors import BundleError
from albert_edge.tflite.graph import builtin_code, parse, schema

__all__ = ["inspect"]


def inspect(source: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """Take stock of a `.tflite` file, this project's or any other's.

    Args:
        source: A path, or a file's content.

    Returns:
        Figures ready for JSON:
        `signatures`: their inputs and outputs, each a dtype and a shape, -1 for any length;
        `pieces`: for `embed`, each `layer` and `head` its operators by type, those of them that
        read or give floats (`float_operators`), its weight bytes and how often it runs (`passes`);
        one piece `model` for a file that was not linked here;
        `weights`: `stored_bytes` (constants and their quantization scales, as the file holds them),
        `unique_bytes` (the same, equal ones counted once), `duplication` (their ratio; 1 is best),
        `logical_bytes` (as if every pass had weights of its own), `sharing` (logical over stored),
        and `by_type`;
        `bundle`: task, layout, recipe, tokenizer, provenance and verification, or None for a file
        without them.

    Raises:
        BundleError: The file is missing, damaged, or no TFLite model.
    """
    located = locate(source)
    front = model_bytes(located)
    size = len(located) if isinstance(located, bytes) else located.stat().st_size
    bundle = read(located) if size > len(front) else None
    model = parse(front)
    try:
        pieces = _pieces(model, bundle)
        return {
            "signatures": _signatures(model),
            "pieces": pieces,
            "weights": _weights(model, pieces),
            "bundle": None if bundle is None else _describe(bundle),
        }
    except (IndexError, KeyError, TypeError, ValueError) as error:
        # The flatbuffer can be read, but an index or a name in it points nowhere.
        raise BundleError(f"the TFLite model contradicts itself: {error}.") from error


def _signatures(model: Any) -> dict[str, Any]:
    def tensors(graph: Any, entries: Any) -> dict[str, Any]:
        return {_text(entry.name): _tensor(graph.tensors[entry.tensorIndex]) for entry in entries}

    found = {}
    for definition in model.signatureDefs or ():
        graph = model.subgraphs[definition.subgraphIndex]
        found[_text(definition.signatureKey)] = {
            "inputs": tensors(graph, definition.inputs),
            "outputs": tensors(graph, definition.outputs),
        }
    return found


def _tensor(tensor: Any) -> dict[str, Any]:
    shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return {"dtype": _type_name(tensor), "shape": [int(size) for size in shape]}


def _pieces(model: Any, bundle: Bundle | None) -> dict[str, Any]:
    operators: dict[str, Counter[str]] = defaultdict(Counter)
    floats: dict[str, Counter[str]] = defaultdict(Counter)
    weights: dict[str, dict[int, int]] = defaultdict(dict)
    for graph in model.subgraphs:
        for operator in graph.operators:
            outputs = [graph.tensors[index] for index in operator.outputs]
            piece = _piece(_text(outputs[0].name), bundle)
            name = _operator_name(model, operator)
            operators[piece][name] += 1
            touched = [*outputs, *(graph.tensors[index] for index in operator.inputs if index >= 0)]
            floats[piece][name] += any(tensor.type in _FLOATS for tensor in touched)
            for index in operator.inputs:
                if index >= 0 and (size := len(_data(model, graph.tensors[index]))):
                    weights[piece][graph.tensors[index].buffer] = size
    return {
        piece: {
            "operators": dict(counts.most_common()),
            "float_operators": {kind: n for kind, n in floats[piece].most_common() if n},
            "weight_bytes": sum(weights[piece].values()),
            "passes": _passes(piece, bundle),
        }
        for piece, counts in operators.items()
    }


def _piece(tensor_name: str, bundle: Bundle | None) -> str:
    # The linker names tensors `embed/...`, `layer_<group>/...`, `pass_<index>/...`, `head/...`.
    prefix, slash, _ = tensor_name.partition("/")
    if bundle is None or not slash:
        return "model"
    if prefix.startswith("pass_"):
        return f"layer_{bundle.config.group_of_layer(int(prefix.removeprefix('pass_')))}"
    return prefix


def _passes(piece: str, bundle: Bundle | None) -> int:
    if bundle is not None and piece in ("head_exits", "decision"):  # of the only group
        return bundle.config.num_hidden_layers
    if bundle is None or not piece.startswith("layer_"):
        return 1
    return bundle.config.passes_of_group(int(piece.removeprefix("layer_")))


def _weights(model: Any, pieces: dict[str, Any]) -> dict[str, Any]:
    stored = list(_stored(model))
    stored_bytes = sum(map(len, stored))
    unique_bytes = sum(map(len, set(stored)))
    logical_bytes = stored_bytes + sum(
        piece["weight_bytes"] * (piece["passes"] - 1)
        for name, piece in pieces.items()
        if name.startswith("layer_")  # every exit has weights of its own
    )
    by_type: Counter[str] = Counter()
    seen: set[int] = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.buffer not in seen and (size := len(_data(model, tensor))):
                seen.add(tensor.buffer)
                by_type[_type_name(tensor)] += size
    return {
        "stored_bytes": stored_bytes,
        "unique_bytes": unique_bytes,
        "duplication": round(stored_bytes / max(unique_bytes, 1), 4),
        "logical_bytes": logical_bytes,
        "sharing": round(logical_bytes / max(stored_bytes, 1), 4),
        "by_type": dict(by_type.most_common()),
    }


def _stored(model: Any) -> Iterator[bytes]:
    """Yield every constant and its array of scales (their zero points are all 0) in the file."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    for index in {tensor.buffer for tensor in tensors}:
        if (data := model.buffers[index].data) is not None:
            yield bytes(memoryview(data))
    for tensor in tensors:
        scaled = tensor.quantization is not None and tensor.quantization.scale is not None
        if scaled and len(_data(model, tensor)):
            yield np.asarray(tensor.quantization.scale).tobytes()


def _data(model: Any, tensor: Any) -> Any:
    data = model.buffers[tensor.buffer].data
    return b"" if data is None else data


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")


def _describe(bundle: Bundle) -> dict[str, Any]:
    return {
        "task": bundle.task,
        "layout": bundle.layout,
        "quantize": bundle.quantize,
        "seq_len": bundle.seq_len,
        "labels": list(bundle.config.labels) if bundle.task.endswith("classification") else None,
        "config": bundle.config.to_dict(),
        "tokenizer_files": {name: len(blob) for name, blob in bundle.tokenizer_files.items()},
        "provenance": dict(bundle.provenance),
        "verification": bundle.verification,
        **({"early_exit": asdict(bundle.early_exit)} if bundle.early_exit else {}),
    }


_FLOATS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)
_TYPE_NAMES = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()
}
_OPERATOR_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()
}


def _type_name(tensor: Any) -> str:
    return str(_TYPE_NAMES.get(tensor.type, f"type {tensor.type}"))


def _operator_name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return _text(code.customCode)
    return str(_OPERATOR_NAMES[builtin_code(model, operator)])
