"""Report what is in a `.tflite` file: operators, weights and how they are shared, by stage."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from albert_edge.benchmark.inputs import make_inputs
from albert_edge.bundle import (
    Bundle,
    check_flatbuffer,
    has_bundle,
    locate,
    model_bytes,
    product_file,
    read,
)
from albert_edge.config import AlbertConfig
from albert_edge.errors import BundleError, FidelityError, InputError
from albert_edge.tflite.edgetpu_rules import check_edgetpu, require_edgetpu
from albert_edge.tflite.edgetpu_time import estimate_time, sum_of_files
from albert_edge.tflite.gpu_rules import check_gpu, describe_findings, require_gpu
from albert_edge.tflite.graph import OPERATOR_NAMES, builtin_code, parse, schema, type_name
from albert_edge.tflite.link import (
    measure_weights,
    passes_of_stage,
    stage_of_tensor,
    weights_of_stages,
)

__all__ = ["bisect", "inspect", "require_right"]

# The number of tokens of a file that takes any.
_TOKENS = 32
_FLOATS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)


def inspect(source: str | os.PathLike[str] | bytes, *, accelerator: str = "cpu") -> dict[str, Any]:
    """Report what is in a `.tflite` file, written by this project or any other.

    Args:
        source: A path, or a file's content; a folder of the target `edgetpu` is its host graph.
        accelerator: `cpu`, or what the graph is checked for: `edgetpu`, or a GPU of
            `config.ACCELERATORS`.

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
        `findings`, one for each operator and rule;
        `edgetpu`: with accelerator `edgetpu` only, see `edgetpu_rules.check_edgetpu`; and `time`,
        see `edgetpu_time.estimate_time`.  Of a folder of the target `edgetpu` they are those of its
        products, for an inference of as many tokens as they have rows.

    Raises:
        BundleError: The file is missing, damaged, or not a TFLite model.
    """
    front, bundle = _read(source)
    config, model = None if bundle is None else bundle.config, parse(front)
    try:
        return {
            "signatures": _signatures(model),
            "pieces": _stages(model, config),
            "weights": measure_weights(model, config),
            "bundle": None if bundle is None else _describe(bundle),
            **_check(model, accelerator, source, bundle),
        }
    except (IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        # The flatbuffer can be read, but an index or a name in it points nowhere.
        raise BundleError(
            f"the TFLite model is damaged: an index or a name in it points nowhere ({error})."
        ) from error


def bisect(
    source: str | os.PathLike[str] | bytes,
    *,
    accelerator: str = "gpu",
    on_cut: Callable[[int, int], None] = lambda done, expected: None,
) -> dict[str, Any]:
    """Find the first operator of a file whose result on a GPU differs from the CPU's.

    A file of this project is run on a text that fills half of its length; of another, on small
    random ids, masks of which half is 1, and random floats.

    Args:
        source: A path, or a file's content.
        accelerator: `gpu` or `gpu:float32`, or `gpu:default` for the driver's precision.
        on_cut: Called with the number of graphs that were run, and about how many there will be.

    Returns:
        Figures ready for JSON: the `accelerator`; the `device`, its name; `inputs`, what it was run
        on; and `divergence`, see `runtime.bisect.Divergence`, or None if nothing differs.

    Raises:
        BundleError: The file is missing, damaged, or not a TFLite model, or the CPU cannot run it.
        DeviceError: There is no GPU.
        InputError: The model has no signature.
    """
    from albert_edge.runtime.bisect import find_divergence, gpu_engine
    from albert_edge.runtime.isolated import run_graph

    front, bundle = _read(source)
    inputs, described = _bisect_inputs(parse(front), bundle)
    engine, limit, device = gpu_engine(accelerator)
    if bundle is None:  # its graph may end a process; this one runs it later
        run_graph(bytes(front), inputs, accelerator="cpu")
    found = find_divergence(bytes(front), inputs, engine, limit=limit, on_cut=on_cut)
    return {
        "accelerator": accelerator,
        "device": device,
        "inputs": described,
        "divergence": None if found is None else found.to_dict(),
    }


def require_right(figures: dict[str, Any], *, where: str) -> None:
    """Raise if what `inspect` and `bisect` found keeps a file off an accelerator.

    Args:
        figures: What `inspect` returned, with what `bisect` returned as `bisect` in `gpu`, if any.
        where: What to call the file in the message.

    Raises:
        FidelityError: An operator's result on the GPU is not the CPU's.
        UnsupportedOpError: A GPU runtime would compute an operator wrong, or refuse it; or an Edge
            TPU would run none.
    """
    if "edgetpu" in figures:
        require_edgetpu(figures["edgetpu"], where=where)
    if (figures := figures.get("gpu", {})) and (
        found := figures.get("bisect", {}).get("divergence")
    ):
        raise FidelityError(
            f"{where}: on {figures['bisect']['device']}, {found['name']} is {found['effect']} "
            f"(operator {found['operator']}, {found['tensor']}). Convert its checkpoint with "
            "--target gpu."
        )
    require_gpu(figures.get("kinds", ()), where=where)


def _read(source: str | os.PathLike[str] | bytes) -> tuple[Any, Bundle | None]:
    """Return a file's flatbuffer, checked, and what is behind it."""
    located = locate(source)
    front = model_bytes(located)
    bundle = read(located) if has_bundle(located) else None
    check_flatbuffer(front, where="the model" if isinstance(located, bytes) else str(located))
    return front, bundle


def _bisect_inputs(model: Any, bundle: Bundle | None) -> tuple[dict[str, Any], str]:
    """Return the inputs of a model's first signature by name, and what they are."""
    if not model.signatureDefs:
        raise InputError("the model has no signature, so its inputs have no names.")
    definition = model.signatureDefs[0]
    tensors = model.subgraphs[definition.subgraphIndex].tensors
    inputs = {_text(entry.name): tensors[entry.tensorIndex] for entry in definition.inputs}
    random = np.random.default_rng(0)
    values = {name: _foreign_values(tensor, name, random) for name, tensor in inputs.items()}
    if bundle is None or "input_ids" not in values:
        return values, "random ids"
    given, described = _half_padded(bundle, values["input_ids"].shape[1])
    return {name: given.get(name, value) for name, value in values.items()}, described


def _half_padded(bundle: Bundle, length: int) -> tuple[dict[str, Any], str]:
    """Return a text of half the length, padded where the length is fixed."""
    ids = make_inputs(bundle, min(length, bundle.config.max_position_embeddings)).ids[-1]
    rows = np.zeros((3, 1, length if bundle.seq_lens else len(ids)), np.int32)
    rows[0] = bundle.config.pad_token_id
    rows[0, 0, : len(ids)], rows[2, 0, : len(ids)] = ids, 1
    names = ("input_ids", "token_type_ids", "attention_mask")
    given: dict[str, Any] = dict(zip(names, rows, strict=True))
    if bundle.early_exit:
        given |= bundle.early_exit.arrays()
    kind = "a text" if bundle.tokenizer_files else "random ids"
    padded = f", padded to {length}" if bundle.seq_lens else ""
    return given, f"{kind} of {len(ids)} tokens{padded}"


def _foreign_values(tensor: Any, name: str, random: np.random.Generator) -> Any:
    stored = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    shape = [_TOKENS if size < 0 else int(size) for size in stored]
    dtype = type_name(tensor)
    if dtype.startswith(("float", "bfloat")):
        return random.normal(size=shape).astype("float32" if dtype == "bfloat16" else dtype)
    if "mask" in name.lower():
        return np.broadcast_to(np.arange(shape[-1]) < shape[-1] / 2, shape).astype(dtype)
    return random.integers(0, 2 if "type" in name.lower() else 5, shape).astype(dtype)


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


def _check(
    model: Any, accelerator: str, source: str | os.PathLike[str] | bytes, bundle: Bundle | None
) -> dict[str, Any]:
    if accelerator == "cpu":
        return {}
    if accelerator == "edgetpu":
        if bundle is not None and bundle.products:
            found = _check_products(source, bundle)
        else:
            found = check_edgetpu(model)
        return {"edgetpu": {**found, "time": estimate_time(found)}}
    findings = check_gpu(model)
    listed = [finding.to_dict() for finding in findings]
    return {"gpu": {"kinds": describe_findings(findings), "findings": listed}}


def _check_products(source: str | os.PathLike[str] | bytes, bundle: Bundle) -> dict[str, Any]:
    """Check the products beside a host graph; an inference runs those of the most rows."""
    located, config = locate(source), bundle.config
    if isinstance(located, bytes):
        raise InputError("the model is a host graph; give its folder, which has the products.")
    files: list[tuple[dict[str, Any], int]] = []
    for rows, digests in sorted(bundle.products.items()):
        for name in digests:
            path = located.parent / product_file(name, rows)
            layer = int(name.split("_")[1]) if name.startswith("layer_") else 0
            passes = config.passes_of_group(layer // config.inner_group_num)
            runs = passes if rows == max(bundle.products) else 0
            found = check_edgetpu(parse(model_bytes(path)))
            findings = [{"file": path.name, **finding} for finding in found["findings"]]
            files.append(({**found, "findings": findings}, runs))
    checks = [found for found, _ in files]
    return {
        "rows": max(bundle.products),
        "operators": sum(found["operators"] for found in checks),
        "mapped": sum(found["mapped"] for found in checks),
        "compiles": all(found["compiles"] for found in checks),
        "findings": [finding for found in checks for finding in found["findings"]],
        "kinds": _join_kinds([kind for found in checks for kind in found["kinds"]]),
        **sum_of_files(files),
    }


def _join_kinds(kinds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the kinds of operators of several files, each of them once."""
    joined: dict[tuple[str, str | None], dict[str, Any]] = {}
    for kind in kinds:
        known = joined.setdefault((kind["name"], kind.get("rule")), {**kind, "count": 0})
        known["count"] += kind["count"]
    return list(joined.values())


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
        **({"product_rows": sorted(bundle.products)} if bundle.products else {}),
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
