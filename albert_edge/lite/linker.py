"""Link pieces into one `.tflite` model in which every distinct weight is stored once.

A piece's operators are copied into a graph as often as the layout says; its constants are not.
Constants are told apart by their content: a weight that several pieces or subgraphs use is one
buffer in the file, and within one subgraph it is one tensor too, so that neither its bytes nor its
quantization scales are stored again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from albert_edge.compression.recipes import check_layout
from albert_edge.config import AlbertConfig
from albert_edge.errors import ConversionError
from albert_edge.lite.flatbuffer import pack, parse, schema, tensor_bytes

if TYPE_CHECKING:
    from albert_edge.lite.pieces import Pieces

__all__ = ["link"]

_Op = schema.BuiltinOperator
_Options = schema.BuiltinOptions


def link(pieces: Pieces, config: AlbertConfig, *, layout: str = "loop") -> bytes:
    """Compose the pieces of one model into a TFLite model.

    Args:
        pieces: The model's stages.
        config: The model's shape: how often each layer runs.
        layout: `loop` (a WHILE operator a group), `unrolled` (one copy of the operators a pass)
            or `split` (a signature a stage; the host makes the passes).

    Returns:
        The flatbuffer, without metadata.

    Raises:
        ConversionError: There is no such layout, or a piece cannot be copied.
    """
    check_layout(layout)
    model = _Model()
    layers = [_Piece(layer, f"layer_{group}") for group, layer in enumerate(pieces.layers)]
    _LAYOUTS[layout](
        model, config, _Piece(pieces.embed, "embed"), layers, _Piece(pieces.head, "head")
    )
    return model.pack()


class _Piece:
    """A parsed piece, and its tensors by the names of its signature."""

    def __init__(self, blob: bytes, name: str) -> None:
        self.name = name
        self.model = parse(blob)
        if len(self.model.subgraphs) != 1 or len(self.model.signatureDefs or ()) != 1:
            raise ConversionError(f"piece {name!r} must be one subgraph with one signature.")
        self.graph = self.model.subgraphs[0]
        signature = self.model.signatureDefs[0]
        self.inputs = {entry.name.decode(): entry.tensorIndex for entry in signature.inputs}
        self.outputs = {entry.name.decode(): entry.tensorIndex for entry in signature.outputs}


class _Model:
    """A model under construction: subgraphs over one list of distinct buffers."""

    def __init__(self) -> None:
        self.graphs: list[_Graph] = []
        self._signatures: list[Any] = []
        self._buffers: dict[bytes, int] = {b"": 0}
        self._codes: dict[tuple[int, bytes, int], int] = {}

    def graph(self, name: str) -> _Graph:
        self.graphs.append(_Graph(self, name, len(self.graphs)))
        return self.graphs[-1]

    def buffer(self, data: bytes) -> int:
        return self._buffers.setdefault(data, len(self._buffers))

    def code(self, builtin: int, *, custom: bytes = b"", version: int = 1) -> int:
        return self._codes.setdefault((builtin, custom, version), len(self._codes))

    def sign(self, key: str, graph: _Graph, outputs: Mapping[str, int]) -> None:
        """Make `graph` callable by `key`; its inputs are those made with `graph.input`."""
        graph.outputs = list(outputs.values())
        definition = schema.SignatureDefT(signatureKey=key, subgraphIndex=graph.index)
        definition.inputs = _tensor_map(graph.inputs)
        definition.outputs = _tensor_map(outputs)
        self._signatures.append(definition)

    def pack(self) -> bytes:
        codes = [
            schema.OperatorCodeT(
                # Readers older than the 32-bit code look at this byte.
                deprecatedBuiltinCode=min(builtin, _Op.PLACEHOLDER_FOR_GREATER_OP_CODES),
                builtinCode=builtin,
                customCode=custom or None,
                version=version,
            )
            for builtin, custom, version in self._codes
        ]
        return pack(
            schema.ModelT(
                version=3,
                description="albert_edge",
                operatorCodes=codes,
                subgraphs=[graph.pack() for graph in self.graphs],
                buffers=[schema.BufferT(data=data) for data in self._buffers],
                signatureDefs=self._signatures,
            )
        )


class _Graph:
    """A subgraph under construction."""

    def __init__(self, model: _Model, name: str, index: int) -> None:
        self.index = index
        self.inputs: dict[str, int] = {}
        self.outputs: list[int] = []
        self._model = model
        self._name = name
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._constants: dict[tuple[str, int], int] = {}

    def tensor(self, like: Any, name: str, data: bytes = b"") -> int:
        """Add a tensor of the type, shape and quantization of `like`."""
        tensor = copy.copy(like)
        tensor.name = name
        tensor.buffer = self._model.buffer(data)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def like(self, index: int, name: str) -> int:
        """Add a computed tensor like the tensor `index` of this graph."""
        return self.tensor(self._tensors[index], name)

    def input(self, name: str, like: Any) -> int:
        self.inputs[name] = self.tensor(like, name)
        return self.inputs[name]

    def inputs_of(self, piece: _Piece) -> dict[str, int]:
        """Add an input for every input of `piece`."""
        return {
            name: self.input(name, piece.graph.tensors[index])
            for name, index in piece.inputs.items()
        }

    def inputs_like(self, other: _Graph, tensors: Mapping[str, int]) -> dict[str, int]:
        """Add an input for each of `tensors` of another graph."""
        return {name: self.input(name, other._tensors[index]) for name, index in tensors.items()}

    def operator(self, builtin: int, inputs: list[int], outputs: list[int], options: Any) -> None:
        name = type(options).__name__.removesuffix("T")
        self._operators.append(
            schema.OperatorT(
                opcodeIndex=self._model.code(builtin),
                inputs=inputs,
                outputs=outputs,
                builtinOptionsType=getattr(_Options, name),
                builtinOptions=options,
            )
        )

    def scalar(self, value: int, name: str) -> int:
        """Add the int32 constant `value`."""
        data = value.to_bytes(4, "little", signed=True)
        return self.tensor(_INT32_SCALAR, name, data)

    def splice(self, piece: _Piece, inputs: Mapping[str, int], *, name: str = "") -> dict[str, int]:
        """Copy the operators of `piece`, reading `inputs`.

        Args:
            piece: What to copy; its constants are added once, however often it is spliced.
            inputs: The tensors of this graph to use for the piece's inputs, by name.
            name: A prefix for the names of the tensors; the piece's own when left out.

        Returns:
            The piece's outputs as tensors of this graph, by name.
        """
        tensors = {index: inputs[key] for key, index in piece.inputs.items()}
        tensors[-1] = -1  # an optional input that is left out
        for index, tensor in enumerate(piece.graph.tensors):
            if index not in tensors:
                tensors[index] = self._copy(piece, index, tensor, name or piece.name)
        for operator in piece.graph.operators:
            self._operators.append(self._copy_operator(piece, operator, tensors))
        return {key: tensors[index] for key, index in piece.outputs.items()}

    def _copy(self, piece: _Piece, index: int, tensor: Any, prefix: str) -> int:
        data = tensor_bytes(piece.model, tensor)
        if not data:
            return self.tensor(tensor, f"{prefix}/{index}")
        key = (piece.name, index)
        if key not in self._constants:
            self._constants[key] = self.tensor(tensor, f"{piece.name}/{index}", data)
        return self._constants[key]

    def _copy_operator(self, piece: _Piece, operator: Any, tensors: Mapping[int, int]) -> Any:
        code = piece.model.operatorCodes[operator.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        if builtin in (_Op.WHILE, _Op.IF, _Op.CALL_ONCE) or operator.largeCustomOptionsSize:
            raise ConversionError(f"piece {piece.name!r} holds an operator that cannot be copied.")
        copied = copy.copy(operator)
        copied.opcodeIndex = self._model.code(
            builtin, custom=code.customCode or b"", version=code.version
        )
        for field in ("inputs", "outputs", "intermediates"):
            indices = getattr(operator, field)
            if indices is not None:
                setattr(copied, field, [tensors[int(index)] for index in indices])
        return copied

    def pack(self) -> Any:
        return schema.SubGraphT(
            name=self._name,
            tensors=self._tensors,
            inputs=list(self.inputs.values()),
            outputs=self.outputs,
            operators=self._operators,
        )


_INT32_SCALAR = schema.TensorT(shape=[], type=schema.TensorType.INT32, hasRank=True)
_BOOL_SCALAR = schema.TensorT(shape=[], type=schema.TensorType.BOOL, hasRank=True)


def _link_loop(
    model: _Model, config: AlbertConfig, embed: _Piece, layers: list[_Piece], head: _Piece
) -> None:
    # A hidden group serves consecutive passes, so each group is one WHILE of its own.
    main = model.graph("main")
    state = main.splice(embed, main.inputs_of(embed))
    for group, layer in enumerate(layers):
        state = _while(model, main, layer, state, passes=config.passes_of_group(group))
    model.sign("serving_default", main, main.splice(head, _for(head, state)))


def _while(
    model: _Model, main: _Graph, layer: _Piece, state: dict[str, int], *, passes: int
) -> dict[str, int]:
    """Run `layer` `passes` times over `state` and return the new state."""
    variables = {"pass": main.scalar(0, f"{layer.name}/first"), **state}
    condition = model.graph(f"{layer.name}/condition")
    counter = condition.inputs_like(main, variables)["pass"]
    go_on = condition.tensor(_BOOL_SCALAR, f"{layer.name}/go_on")
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
    model: _Model, config: AlbertConfig, embed: _Piece, layers: list[_Piece], head: _Piece
) -> None:
    main = model.graph("main")
    state = main.splice(embed, main.inputs_of(embed))
    for index in range(config.num_hidden_layers):
        layer = layers[config.group_of_layer(index)]
        state |= main.splice(layer, _for(layer, state), name=f"pass_{index}")
    model.sign("serving_default", main, main.splice(head, _for(head, state)))


def _link_split(
    model: _Model, config: AlbertConfig, embed: _Piece, layers: list[_Piece], head: _Piece
) -> None:
    names = ["layer"] if len(layers) == 1 else [layer.name for layer in layers]
    for key, piece in zip(["embed", *names, "head"], [embed, *layers, head], strict=True):
        graph = model.graph(key)
        model.sign(key, graph, graph.splice(piece, graph.inputs_of(piece)))


_LAYOUTS = {"loop": _link_loop, "unrolled": _link_unrolled, "split": _link_split}


def _for(piece: _Piece, state: Mapping[str, int]) -> dict[str, int]:
    return {name: state[name] for name in piece.inputs}


def _tensor_map(tensors: Mapping[str, int]) -> list[Any]:
    return [schema.TensorMapT(name=name, tensorIndex=index) for name, index in tensors.items()]
