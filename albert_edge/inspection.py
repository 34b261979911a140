"""Report what is in a `.tflite` file: operators, weights and how they are shared, by stage."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import asdict
from typing import Any

from albert_edge.bundle import Bundle, check_flatbuffer, locate, model_bytes, read
from albert_edge.config import AlbertConfig
from albert_edge.errors import BundleError
from albert_edge.tflite.gpu_rules import check_gpu, describe_findings
from albert_edge.tflite.graph import OPERATOR_NAMES, builtin_code, parse, schema, type_name
from albert_edge.tflite.link import (
    measure_weights,
    passes_of_stage,
    stage_of_tensor,
    weights_of_stages,
)

__all__ = ["inspect"]

_FLOATS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)


def inspect(source: str | os.PathLike[str] | bytes, *, accelerator: str = "cpu") -> dict[str, Any]:
    """Report what is in a `.tflite` file, written by this project or any other.

    Args:
        source: A path, or a file's content.
        accelerator: `cpu`, or one of `config.ACCELERATORS` whose runtimes the graph is checked for.

    Returns:
        Figures ready for JSON:
        `signatures`: their inputs and outputs, each a dtype and a shape, -1 for any length;
        `pieces`: for `embed`, each `layer` and `head` its operators by type, those of them that
        read or write floats (`float_operators`), its weight bytes and how often it runs (`passes`);
        one entry `model` for a file that was not linked here;
        `weights`: see `link.measure_weights`;
        `bundle`: task, layout, recipe, tokenizer, provenance and verification, or None for a file
        without them;
        `gpu`: with such an accelerator only: `kinds`, see `gpu_rules.describe_findings`, and
        `findings`, one for each operator and rule.

    Raises:
        BundleError: The file is missing, damaged, or not a TFLite model.
    """
    located = locate(source)
    front = model_bytes(located)
    size = len(located) if isinstance(located, bytes) else located.stat().st_size
    bundle = read(located) if size > len(front) else None
    config = None if bundle is None else bundle.config
    check_flatbuffer(front, where="the model" if isinstance(located, bytes) else str(located))
    model = parse(front)
    try:
        return {
            "signatures": _signatures(model),
            "pieces": _stages(model, config),
            "weights": measure_weights(model, config),
            "bundle": None if bundle is None else _describe(bundle),
            **({"gpu": _check_gpu(model)} if accelerator != "cpu" else {}),
        }
    except (IndexError, KeyError, TypeError, ValueError) as error:
        # The flatbuffer can be read, but an index or a name in it points nowhere.
        raise BundleError(
            f"the TFLite model is damaged: an index or a name in it points nowhere ({error})."
        ) from error


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
    return {"dtype": type_name(tensor), "shape": [int(size) for size in shape]}


def _stages(model: Any, config: AlbertConfig | None) -> dict[str, Any]:
    operators: dict[str, Counter[str]] = defaultdict(Counter)
    floats: dict[str, Counter[str]] = defaultdict(Counter)
    for graph in model.subgraphs:
        for operator in graph.operators:
            outputs = [graph.tensors[index] for index in operator.outputs]
            inputs = [graph.tensors[index] for index in operator.inputs if index >= 0]
            stage, name = stage_of_tensor(outputs[0].name, config), _operator_name(model, operator)
            operators[stage][name] += 1
            floats[stage][name] += any(tensor.type in _FLOATS for tensor in (*inputs, *outputs))
    weights = weights_of_stages(model, config)
    return {
        stage: {
            "operators": dict(counts.most_common()),
            "float_operators": {kind: n for kind, n in floats[stage].most_common() if n},
            "weight_bytes": weights[stage],
            "passes": passes_of_stage(stage, config),
        }
        for stage, counts in operators.items()
    }


def _check_gpu(model: Any) -> dict[str, Any]:
    findings = check_gpu(model)
    return {
        "kinds": describe_findings(findings),
        "findings": [finding.to_dict() for finding in findings],
    }


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")


def _describe(bundle: Bundle) -> dict[str, Any]:
    return {
        "task": bundle.task,
        "layout": bundle.layout,
        "quantize": bundle.quantize,
        "target": bundle.target,
        "seq_len": bundle.seq_len,
        "seq_lens": list(bundle.seq_lens),
        "labels": list(bundle.config.labels) if bundle.task.endswith("classification") else None,
        "config": bundle.config.to_dict(),
        "tokenizer_files": {name: len(blob) for name, blob in bundle.tokenizer_files.items()},
        "provenance": dict(bundle.provenance),
        "verification": bundle.verification,
        **({"early_exit": asdict(bundle.early_exit)} if bundle.early_exit else {}),
    }


def _operator_name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return _text(code.customCode)
    return str(OPERATOR_NAMES[builtin_code(model, operator)])
