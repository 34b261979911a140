"""Link pieces into one `.tflite` model in which every distinct weight is stored once.

A piece's operators are copied into a graph as often as the layout says; its constants are not.
Constants are told apart by their content: a weight that several pieces or subgraphs use is one
buffer in the file, and within one subgraph it is one tensor too, so that neither its bytes nor its
quantization scales are stored again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.tflite.graph import BOOL_SCALAR, GraphBuilder, ModelBuilder, StageModel, schema
from albert_edge.tflite.layouts import check_layout

if TYPE_CHECKING:
    from albert_edge.tflite.export import Stages

__all__ = ["link"]

_Op = schema.BuiltinOperator
_BOOL = schema.TensorT(shape=[1], type=schema.TensorType.BOOL, hasRank=True)


def link(pieces: Stages, config: AlbertConfig, *, layout: str = "loop") -> bytes:
    """Compose the pieces of one model into a TFLite model.

    Args:
        pieces: The model's stages; a piece a pass for `unrolled` only.  With exits, a loop can be
            left early, and `split` has a signature for them; `unrolled` makes all passes.
        config: The model's shape: how often each layer runs.
        layout: `loop` (a WHILE operator a group), `unrolled` (one copy of the operators a pass)
            or `split` (a signature a stage; the host makes the passes).

    Returns:
        The flatbuffer, without metadata.

    Raises:
        ConversionError: There is no such layout, or a piece cannot be copied.
    """
    check_layout(layout)
    model = ModelBuilder()
    per_pass = len(pieces.layers) > config.num_hidden_groups
    layers = [
        StageModel(layer, f"layer_{config.group_of_layer(index) if per_pass else index}")
        for index, layer in enumerate(pieces.layers)
    ]
    exits = [StageModel(pieces.exits, "head_exits")] if pieces.exits else []
    exits += [StageModel(pieces.decision, "decision")] if pieces.decision else []
    embed, head = StageModel(pieces.embed, "embed"), StageModel(pieces.head, "head")
    _LAYOUTS[layout](model, config, _Stages(embed, layers, head, exits))
    return model.pack()


class _Stages(NamedTuple):
    # The pieces, parsed; `exits` are those of a loop that can be left: what every pass says, and
    # what is decided by it.
    embed: StageModel
    layers: list[StageModel]
    head: StageModel
    exits: list[StageModel]


def _link_loop(model: ModelBuilder, config: AlbertConfig, stages: _Stages) -> None:
    # A hidden group serves consecutive passes, so each group is one WHILE of its own.
    main = model.graph("main")
    state = main.splice(stages.embed, main.inputs_of(stages.embed))
    if stages.exits:
        state |= _begin(main, stages.exits[-1], limit=config.num_hidden_layers)
    for group, layer in enumerate(stages.layers):
        passes = config.passes_of_group(group)
        state = _while(model, main, layer, state, passes=passes, exits=stages.exits)
    outputs = main.splice(stages.head, _for(stages.head, state))
    if stages.exits:
        outputs = _settle(main, state, outputs, passes=config.num_hidden_layers)
    model.sign("serving_default", main, outputs)


def _begin(main: GraphBuilder, decision: StageModel, *, limit: int) -> dict[str, int]:
    """Return what a loop that can be left starts from, and what the caller says about leaving."""
    tensors = decision.graph.tensors
    first = {"limit": limit, "answer": -1}  # no label is -1, so the first pass repeats nothing
    state = {
        name: main.constant(
            tensors[index],
            f"{decision.name}/first_{name}",
            np.full(tensors[index].shape, first.get(name, 0), np.int32).tobytes(),
        )
        for name, index in decision.outputs.items()
    }
    given = ("patience", "threshold", "max_layers")
    return state | {name: main.input(name, tensors[decision.inputs[name]]) for name in given}


def _settle(
    main: GraphBuilder, state: Mapping[str, int], last: Mapping[str, int], *, passes: int
) -> dict[str, int]:
    """Choose between what the loop said when it was left early and the head's `last` word."""
    limit = main.scalar(passes, "decision/passes")
    early = main.tensor(_BOOL, "decision/early")
    main.operator(_Op.LESS, [state["layers_used"], limit], [early], schema.LessOptionsT())
    logits = main.like(state["logits"], "decision/logits")
    choice = [early, state["logits"], last["logits"]]
    main.operator(_Op.SELECT_V2, choice, [logits], schema.SelectV2OptionsT())
    return {"logits": logits, "layers_used": state["layers_used"]}


def _while(
    model: ModelBuilder,
    main: GraphBuilder,
    layer: StageModel,
    state: dict[str, int],
    *,
    passes: int,
    exits: list[StageModel],
) -> dict[str, int]:
    """Run `layer` `passes` times over `state`, or until `exits` end it; return the new state."""
    variables = {"pass": main.scalar(0, f"{layer.name}/first"), **state}
    condition = model.graph(f"{layer.name}/condition")
    inputs = condition.inputs_like(main, variables)
    go_on = condition.tensor(BOOL_SCALAR, f"{layer.name}/go_on")
    limit = inputs["limit"] if exits else condition.scalar(passes, f"{layer.name}/passes")
    condition.operator(_Op.LESS, [inputs["pass"], limit], [go_on], schema.LessOptionsT())
    condition.outputs = [go_on]

    body = model.graph(f"{layer.name}/body")
    inputs = body.inputs_like(main, variables)
    following = body.like(inputs["pass"], f"{layer.name}/next")
    body.operator(
        _Op.ADD,
        [inputs["pass"], body.scalar(1, f"{layer.name}/one")],
        [following],
        schema.AddOptionsT(),
    )
    outputs = {**inputs, "pass": following, **body.splice(layer, _for(layer, inputs))}
    for piece in exits:
        outputs |= body.splice(piece, _for(piece, {**outputs, "made": following}))
    body.outputs = [outputs[name] for name in variables]

    results = {name: main.like(index, f"{layer.name}/{name}") for name, index in variables.items()}
    main.operator(
        _Op.WHILE,
        list(variables.values()),
        list(results.values()),
        schema.WhileOptionsT(condSubgraphIndex=condition.index, bodySubgraphIndex=body.index),
    )
    del results["pass"]
    return results


def _link_unrolled(model: ModelBuilder, config: AlbertConfig, stages: _Stages) -> None:
    main = model.graph("main")
    layers = stages.layers
    state = main.splice(stages.embed, main.inputs_of(stages.embed))
    for index in range(config.num_hidden_layers):
        per_pass = len(layers) == config.num_hidden_layers
        layer = layers[index if per_pass else config.group_of_layer(index)]
        state |= main.splice(layer, _for(layer, state), name=f"pass_{index}")
    model.sign("serving_default", main, main.splice(stages.head, _for(stages.head, state)))


def _link_split(model: ModelBuilder, config: AlbertConfig, stages: _Stages) -> None:
    layers = stages.layers
    names = ["layer"] if len(layers) == 1 else [layer.name for layer in layers]
    names = ["embed", *names, "head", *(["exit"] if stages.exits else [])]
    pieces = [stages.embed, *layers, stages.head, *stages.exits[:1]]
    for key, piece in zip(names, pieces, strict=True):
        graph = model.graph(key)
        model.sign(key, graph, graph.splice(piece, graph.inputs_of(piece)))


_LAYOUTS = {"loop": _link_loop, "unrolled": _link_unrolled, "split": _link_split}


def _for(piece: StageModel, state: Mapping[str, int]) -> dict[str, int]:
    return {name: state[name] for name in piece.inputs}
