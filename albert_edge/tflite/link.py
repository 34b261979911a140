"""Link the stage models of one ALBERT into one TFLite model that stores every weight once.

A stage's operators are copied into a graph as often as the layout says; its constants are not.
Constants are compared by content: a weight that several stages or subgraphs use is one buffer in
the file, and within one subgraph it is one tensor too, so that neither its bytes nor its
quantization scales are stored again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from albert_edge.config import LAYOUTS, AlbertConfig
from albert_edge.errors import ConversionError
from albert_edge.tflite.graph import (
    BOOL_SCALAR,
    GraphBuilder,
    ModelBuilder,
    StageModel,
    Stages,
    schema,
    type_name,
)
from albert_edge.tflite.last_pass import INDICES, choose_rows
from albert_edge.tflite.legacy_runtimes import Runtime
from albert_edge.tflite.legalize import legalize

__all__ = [
    "LinkedModel",
    "check_layout",
    "link",
    "measure_weights",
    "passes_of_stage",
    "stage_of_tensor",
    "weights_of_stages",
]

_Op = schema.BuiltinOperator
_INT32 = schema.TensorType.INT32
_BOOL = schema.TensorT(shape=[1], type=schema.TensorType.BOOL, hasRank=True)
_SCALAR, _ONE, _PAIR = (
    schema.TensorT(shape=shape, type=_INT32, hasRank=True) for shape in ([], [1], [2])
)


def check_layout(name: str) -> None:
    """Check that `name` is a layout.

    Raises:
        ConversionError: It is not.
    """
    if name not in LAYOUTS:
        raise ConversionError(f"unknown layout {name!r}; choose from {', '.join(LAYOUTS)}.")


@dataclass(frozen=True, slots=True)
class LinkedModel:
    """A linked model and how well it shares its weights.

    Attributes:
        model: A `schema.ModelT` without metadata.
        duplication: Stored bytes of weights over those of the distinct ones; 1 is best.
        sharing: Bytes of weights if every pass had its own, over stored bytes.
    """

    model: Any
    duplication: float
    sharing: float


def link(
    stages: Stages | Mapping[int, Stages],
    config: AlbertConfig,
    *,
    layout: str = "loop",
    runtime: Runtime | None = None,
) -> LinkedModel:
    """Compose the stage models of one ALBERT into a TFLite model.

    Args:
        stages: The stage models; one layer a pass for `unrolled` only.  With early-exit
            classifiers, a loop can exit early, and `split` has a signature for them; `unrolled`
            runs all layers.  Those of several fixed lengths, by length, for `unrolled` only:
            `serving_<length>` is the signature of each, and `serving_default` that of the longest.
        config: The model's shape: how often each layer runs.
        layout: `loop` (a WHILE operator a group), `unrolled` (one copy of the operators a pass)
            or `split` (a signature a stage; the host runs the layers).
        runtime: An older runtime to lower the operators for, or None for the current one.

    Raises:
        ConversionError: There is no such layout, a stage model cannot be copied, or `runtime` lacks
            an operator.
    """
    check_layout(layout)
    builder = ModelBuilder()
    if isinstance(stages, Mapping) and len(stages) == 1:
        (stages,) = stages.values()
    if isinstance(stages, Stages):
        # Older runtimes refuse a loop of changing shapes.
        if layout == "loop" and runtime is None and not stages.early_exit_step:
            stages = choose_rows(stages, config)
        _LINKERS[layout](builder, config, stages)
    else:
        _link_lengths(builder, config, stages)
    model = builder.build()
    if runtime is not None:
        model = legalize(model, runtime)
    figures = measure_weights(model, config)
    return LinkedModel(model, figures["duplication"], figures["sharing"])


def _link_loop(builder: ModelBuilder, config: AlbertConfig, stages: Stages) -> None:
    # A hidden group serves consecutive passes, so each group is one WHILE of its own.
    main = builder.graph("main")
    inputs = main.inputs_of(stages.embed)
    state = main.inline(stages.embed, inputs)
    if stages.early_exit_step:
        state |= _init_early_exit(
            main, inputs, stages.early_exit_step, limit=config.num_hidden_layers
        )
    for group, layer in enumerate(stages.layers):
        passes = config.passes_of_group(group)
        exits = [stage for stage in (stages.exits, stages.early_exit_step) if stage]
        if "rows" in layer.inputs:
            state |= {"rows": _all_rows(main, state["hidden_states"], name=layer.name)}
        state = _while(builder, main, layer, state, passes=passes, exits=exits)
    outputs = main.inline(stages.head, _inputs_from(state, stages.head))
    if stages.exits and stages.early_exit_outputs:
        used = {"layers_used": state["layers_used"]}
        found = main.inline(stages.exits, _inputs_from(state, stages.exits)) | outputs | used
        selected = stages.early_exit_outputs
        outputs = main.inline(selected, _inputs_from(found, selected)) | used
    builder.sign("serving_default", main, outputs)


def _init_early_exit(
    main: GraphBuilder, inputs: Mapping[str, int], step: StageModel, *, limit: int
) -> dict[str, int]:
    """Add the initial loop variables of early exit, and the inputs that control it."""
    tensors = step.graph.tensors
    initial = {"limit": limit, "same": -1}
    state = {
        name: main.constant(
            tensors[index],
            f"{step.name}/first_{name}",
            np.full(tensors[index].shape, initial.get(name, 0), np.int32).tobytes(),
        )
        for name, index in step.outputs.items()
        if not _is_free(tensors[index])
    }
    options = ("patience", "threshold", "max_layers")
    state |= {name: main.input(name, tensors[step.inputs[name]]) for name in options}
    # Before the first pass any numbers are an answer: of a free length, the ids.
    given = {"answer": inputs["input_ids"], **inputs}
    return {name: index for name, index in given.items() if name in step.inputs} | state


def _is_free(tensor: Any) -> bool:
    signature = tensor.shapeSignature
    return signature is not None and -1 in list(signature)


def _while(
    builder: ModelBuilder,
    main: GraphBuilder,
    layer: StageModel,
    state: dict[str, int],
    *,
    passes: int,
    exits: list[StageModel],
) -> dict[str, int]:
    """Run `layer` `passes` times, or until the stages `exits` end the loop; return the state."""
    variables = {"pass": main.scalar(0, f"{layer.name}/first"), **state}
    condition = builder.graph(f"{layer.name}/condition")
    inputs = condition.inputs_like(main, variables)
    less = condition.tensor(BOOL_SCALAR, f"{layer.name}/go_on")
    limit = inputs["limit"] if exits else condition.scalar(passes, f"{layer.name}/passes")
    condition.operator(_Op.LESS, [inputs["pass"], limit], [less], schema.LessOptionsT())
    condition.outputs = [less]

    body = builder.graph(f"{layer.name}/body")
    inputs = body.inputs_like(main, variables)
    following = body.clone(inputs["pass"], f"{layer.name}/next")
    body.operator(
        _Op.ADD,
        [inputs["pass"], body.scalar(1, f"{layer.name}/one")],
        [following],
        schema.AddOptionsT(),
    )
    outputs = {**inputs, "pass": following, **body.inline(layer, _inputs_from(inputs, layer))}
    for stage in exits:
        outputs |= body.inline(stage, _inputs_from({**outputs, "made": following}, stage))
    if "rows" in inputs:
        outputs["rows"] = _next_rows(body, inputs, name=layer.name, passes=passes)
    body.outputs = [outputs[name] for name in variables]

    results = {name: main.clone(index, f"{layer.name}/{name}") for name, index in variables.items()}
    main.operator(
        _Op.WHILE,
        list(variables.values()),
        list(results.values()),
        schema.WhileOptionsT(condSubgraphIndex=condition.index, bodySubgraphIndex=body.index),
    )
    del results["pass"]
    return results


def _all_rows(main: GraphBuilder, hidden: int, *, name: str) -> int:
    """Add the numbers of all rows, int32 [T]."""
    dims = main.tensor(_PAIR, f"{name}/dims")
    main.operator(_Op.SHAPE, [hidden], [dims], schema.ShapeOptionsT(outType=_INT32))
    count = main.tensor(_SCALAR, f"{name}/count")
    first, second = (main.vector([at], f"{name}/axis_{at}") for at in (0, 1))
    options = schema.StridedSliceOptionsT(shrinkAxisMask=1)
    main.operator(_Op.STRIDED_SLICE, [dims, first, second, second], [count], options)
    rows = main.tensor(INDICES, f"{name}/all_rows")
    limits = [main.scalar(0, f"{name}/first_row"), count, main.scalar(1, f"{name}/row_step")]
    main.operator(_Op.RANGE, limits, [rows], schema.RangeOptionsT())
    return rows


def _next_rows(body: GraphBuilder, inputs: Mapping[str, int], *, name: str, passes: int) -> int:
    """Add the numbers of the rows of the next pass: in the last one, only the first."""
    counts = body.vector([-1] * (passes - 2) + [1, 1], f"{name}/row_counts")  # -1 is all
    number, count = (body.tensor(_ONE, f"{name}/{of}") for of in ("number", "row_count"))
    shape = body.vector([1], f"{name}/scalar")
    body.operator(_Op.RESHAPE, [inputs["pass"], shape], [number])
    body.operator(_Op.GATHER, [counts, number], [count], schema.GatherOptionsT())
    rows = body.clone(inputs["rows"], f"{name}/next_rows")
    begin = body.vector([0], f"{name}/first_row")
    body.operator(_Op.SLICE, [inputs["rows"], begin, count], [rows], schema.SliceOptionsT())
    return rows


def _link_lengths(
    builder: ModelBuilder, config: AlbertConfig, stages: Mapping[int, Stages]
) -> None:
    for length in sorted(stages, reverse=True):  # the first graph is the default one
        graph, outputs = _unroll(builder, config, stages[length], name=f"serving_{length}")
        if length == max(stages):
            builder.sign("serving_default", graph, outputs)
        builder.sign(f"serving_{length}", graph, outputs)


def _link_unrolled(builder: ModelBuilder, config: AlbertConfig, stages: Stages) -> None:
    builder.sign("serving_default", *_unroll(builder, config, stages, name="main"))


def _unroll(
    builder: ModelBuilder, config: AlbertConfig, stages: Stages, *, name: str
) -> tuple[GraphBuilder, dict[str, int]]:
    """Add a graph of all passes; return it and its outputs."""
    main = builder.graph(name)
    layers = stages.layers
    inputs = _embed_inputs(main, stages.embed)
    state = {**inputs, **main.inline(stages.embed, inputs)}
    for index in range(config.num_hidden_layers):
        per_pass = len(layers) == config.num_hidden_layers
        layer = layers[index if per_pass else config.group_of_layer(index)]
        state |= main.inline(layer, _inputs_from(state, layer), name=f"pass_{index}")
    return main, main.inline(stages.head, _inputs_from(state, stages.head))


def _embed_inputs(main: GraphBuilder, embed: StageModel) -> dict[str, int]:
    """Add the inputs of the embedding; the position ids of a GPU's are a constant."""
    tensors = {name: embed.graph.tensors[index] for name, index in embed.inputs.items()}
    ids = tensors.pop("position_ids", None)
    inputs = {name: main.input(name, tensor) for name, tensor in tensors.items()}
    if ids is not None:
        rows = np.arange(ids.shape[-1], dtype=np.int32)
        inputs["position_ids"] = main.constant(ids, "embed/position_ids", rows.tobytes())
    return inputs


def _link_split(builder: ModelBuilder, config: AlbertConfig, stages: Stages) -> None:
    layers = stages.layers
    names = ["layer"] if len(layers) == 1 else [layer.name for layer in layers]
    signed = dict(zip(names, layers, strict=True))
    signed = {"embed": stages.embed, **signed, "head": stages.head}
    if stages.exits:
        signed["exit"] = stages.exits
    for key, stage in signed.items():
        graph = builder.graph(key)
        builder.sign(key, graph, graph.inline(stage, graph.inputs_of(stage)))


_LINKERS = {"loop": _link_loop, "unrolled": _link_unrolled, "split": _link_split}


def _inputs_from(state: Mapping[str, int], stage: StageModel) -> dict[str, int]:
    return {name: state[name] for name in stage.inputs}


def stage_of_tensor(name: bytes | None, config: AlbertConfig | None) -> str:
    """Return the stage that a tensor of a linked model belongs to, such as `layer_0`.

    Args:
        name: The tensor's name: `embed/...`, `layer_<group>/...`, `pass_<index>/...`, `head/...`.
        config: The model's shape; None for a model that was not linked here, which is one stage
            `model`.
    """
    prefix, slash, _ = (name or b"").decode(errors="replace").partition("/")
    if config is None or not slash:
        return "model"
    if prefix.startswith("pass_"):
        return f"layer_{config.group_of_layer(int(prefix.removeprefix('pass_')))}"
    return prefix


def passes_of_stage(stage: str, config: AlbertConfig | None) -> int:
    """Return how often a stage runs for one input, without early exit."""
    if config is not None and stage in ("head_exits", "decision"):  # of the only group
        return config.num_hidden_layers
    if config is None or not stage.startswith("layer_"):
        return 1
    return config.passes_of_group(int(stage.removeprefix("layer_")))


def weights_of_stages(model: Any, config: AlbertConfig | None) -> dict[str, int]:
    """Return the bytes of the distinct constants that each stage's operators read."""
    sizes: dict[str, dict[int, int]] = defaultdict(dict)
    for graph in model.subgraphs:
        for operator in graph.operators:
            stage = stage_of_tensor(graph.tensors[operator.outputs[0]].name, config)
            buffers = sizes[stage]  # of every stage, also one without constants
            for tensor in (graph.tensors[index] for index in operator.inputs if index >= 0):
                buffers[tensor.buffer] = _stored_bytes(model, tensor)
    return {stage: sum(buffers.values()) for stage, buffers in sizes.items()}


def measure_weights(model: Any, config: AlbertConfig | None) -> dict[str, Any]:
    """Measure how a model stores and shares its weights.

    Args:
        model: A parsed `schema.ModelT`.
        config: The model's shape; None for a model that was not linked here.

    Returns:
        `stored_bytes` (constants and their quantization scales, as the file holds them),
        `unique_bytes` (the same, equal ones counted once), `duplication` (their ratio; 1 is best),
        `logical_bytes` (as if every pass had weights of its own), `sharing` (logical over stored),
        and `by_type`.
    """
    constants = list(_constants(model))
    stored_bytes = sum(map(len, constants))
    unique_bytes = sum(map(len, set(constants)))
    logical_bytes = stored_bytes + sum(
        size * (passes_of_stage(stage, config) - 1)
        for stage, size in weights_of_stages(model, config).items()
        if stage.startswith("layer_")  # every exit has weights of its own
    )
    by_type: Counter[str] = Counter()
    counted: set[int] = set()
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        if tensor.buffer not in counted and (size := _stored_bytes(model, tensor)):
            counted.add(tensor.buffer)
            by_type[type_name(tensor)] += size
    return {
        "stored_bytes": stored_bytes,
        "unique_bytes": unique_bytes,
        "duplication": round(stored_bytes / max(unique_bytes, 1), 4),
        "logical_bytes": logical_bytes,
        "sharing": round(logical_bytes / max(stored_bytes, 1), 4),
        "by_type": dict(by_type.most_common()),
    }


def _constants(model: Any) -> Iterator[bytes]:
    """Yield every constant and its array of scales (their zero points are all 0) in the file."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    for index in {tensor.buffer for tensor in tensors}:
        if (data := model.buffers[index].data) is not None:
            yield bytes(memoryview(data))
    for tensor in tensors:
        scaled = tensor.quantization is not None and tensor.quantization.scale is not None
        if scaled and _stored_bytes(model, tensor):
            yield np.asarray(tensor.quantization.scale).tobytes()


def _stored_bytes(model: Any, tensor: Any) -> int:
    data = model.buffers[tensor.buffer].data
    return 0 if data is None else len(data)
