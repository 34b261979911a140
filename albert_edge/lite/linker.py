"""Link pieces into one `.tflite` model in which every distinct weight is stored once.

A piece's operators are copied into a graph as often as the layout says; its constants are not.
Constants are told apart by their content: a weight that several pieces or subgraphs use is one
buffer in the file, and within one subgraph it is one tensor too, so that neither its bytes nor its
quantization scales are stored again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from albert_edge.compression.recipes import check_layout
from albert_edge.config import AlbertConfig
from albert_edge.lite.builder import BOOL_SCALAR, GraphBuilder, ModelBuilder, Piece
from albert_edge.lite.flatbuffer import schema

if TYPE_CHECKING:
    from albert_edge.lite.pieces import Pieces

__all__ = ["link"]

_Op = schema.BuiltinOperator


def link(pieces: Pieces, config: AlbertConfig, *, layout: str = "loop") -> bytes:
    """Compose the pieces of one model into a TFLite model.

    Args:
        pieces: The model's stages; a piece a pass for `unrolled` only.
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
        Piece(layer, f"layer_{config.group_of_layer(index) if per_pass else index}")
        for index, layer in enumerate(pieces.layers)
    ]
    _LAYOUTS[layout](
        model, config, Piece(pieces.embed, "embed"), layers, Piece(pieces.head, "head")
    )
    return model.pack()


def _link_loop(
    model: ModelBuilder, config: AlbertConfig, embed: Piece, layers: list[Piece], head: Piece
) -> None:
    # A hidden group serves consecutive passes, so each group is one WHILE of its own.
    main = model.graph("main")
    state = main.splice(embed, main.inputs_of(embed))
    for group, layer in enumerate(layers):
        state = _while(model, main, layer, state, passes=config.passes_of_group(group))
    model.sign("serving_default", main, main.splice(head, _for(head, state)))


def _while(
    model: ModelBuilder, main: GraphBuilder, layer: Piece, state: dict[str, int], *, passes: int
) -> dict[str, int]:
    """Run `layer` `passes` times over `state` and return the new state."""
    variables = {"pass": main.scalar(0, f"{layer.name}/first"), **state}
    condition = model.graph(f"{layer.name}/condition")
    counter = condition.inputs_like(main, variables)["pass"]
    go_on = condition.tensor(BOOL_SCALAR, f"{layer.name}/go_on")
    limit = condition.scalar(passes, f"{layer.name}/passes")
    condition.operator(_Op.LESS, [counter, limit], [go_on], schema.LessOptionsT())
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


def _link_unrolled(
    model: ModelBuilder, config: AlbertConfig, embed: Piece, layers: list[Piece], head: Piece
) -> None:
    main = model.graph("main")
    state = main.splice(embed, main.inputs_of(embed))
    for index in range(config.num_hidden_layers):
        per_pass = len(layers) == config.num_hidden_layers
        layer = layers[index if per_pass else config.group_of_layer(index)]
        state |= main.splice(layer, _for(layer, state), name=f"pass_{index}")
    model.sign("serving_default", main, main.splice(head, _for(head, state)))


def _link_split(
    model: ModelBuilder, config: AlbertConfig, embed: Piece, layers: list[Piece], head: Piece
) -> None:
    names = ["layer"] if len(layers) == 1 else [layer.name for layer in layers]
    for key, piece in zip(["embed", *names, "head"], [embed, *layers, head], strict=True):
        graph = model.graph(key)
        model.sign(key, graph, graph.splice(piece, graph.inputs_of(piece)))


_LAYOUTS = {"loop": _link_loop, "unrolled": _link_unrolled, "split": _link_split}


def _for(piece: Piece, state: Mapping[str, int]) -> dict[str, int]:
    return {name: state[name] for name in piece.inputs}
