"""A layer that computes only some rows: in the last pass, those that the head reads.

A head of one token, such as a classifier's, reads one row of the last pass's result.  That row
depends on the keys and values of all tokens, but only on its own query and feed-forward network: so
7% of the work of an ALBERT-base is never read.  A layer with the further input `rows` computes just
the rows whose numbers it is given: those of all tokens in every pass but the last.  The loop's body
stays one graph, whose weights are packed once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.tflite.graph import (
    StageModel,
    Stages,
    builtin_code,
    copy_model,
    operator_code,
    schema,
    tensor_bytes,
)

__all__ = ["INDICES", "choose_rows"]

INDICES = schema.TensorT(shape=[1], shapeSignature=[-1], type=schema.TensorType.INT32, hasRank=True)
_Op = schema.BuiltinOperator
_PARTS = 3  # query, key and value
# What makes query, key and value [N, T, D] of the hidden states [T, H], last to first.
_CHAIN = (_Op.SPLIT, _Op.TRANSPOSE, _Op.RESHAPE, _Op.FULLY_CONNECTED)


def choose_rows(stages: Stages, config: AlbertConfig) -> Stages:
    """Let the last layer compute only some rows, if the head reads one; for the layout `loop`.

    Args:
        stages: The stage models, without early exits.
        config: The model's shape.
    """
    several = config.passes_of_group(config.num_hidden_groups - 1) > 1
    if not several or not reads_first_row(stages.head):
        return stages
    *others, last = stages.layers
    return replace(stages, layers=(*others, compute_rows(last) or last))


def reads_first_row(head: StageModel) -> bool:
    """Return whether a head of inputs of any length reads no row of them but the first."""
    hidden = head.inputs["hidden_states"]
    signature = head.graph.tensors[hidden].shapeSignature
    readers = [one for one in head.graph.operators if hidden in one.inputs]
    return signature is not None and all(_is_first_row(head, one) for one in readers)


def _is_first_row(head: StageModel, operator: Any) -> bool:
    if builtin_code(head.model, operator) != _Op.SLICE:
        return False
    begin, size = (
        np.frombuffer(tensor_bytes(head.model, head.graph.tensors[index]), np.int32)
        for index in operator.inputs[1:]
    )
    return bool(begin[0] == 0 and size[0] == 1)


def compute_rows(layer: StageModel) -> StageModel | None:
    """Return a layer that computes only the rows of its input `rows`.

    Args:
        layer: `hidden_states` [T, H] → `hidden_states` [T, H], quantized or not.

    Returns:
        `hidden_states` [T, H], `rows` int32 [R] → `hidden_states` [R, H].  None if there is not
        just one product that is split into query, key and value, as with several layers in one.
    """
    model = copy_model(layer.model)
    graph = model.subgraphs[0]
    makers = {int(one.outputs[0]): one for one in graph.operators}
    splits = [one for one in graph.operators if builtin_code(model, one) == _CHAIN[0]]
    if len(splits) != 1 or len(splits[0].outputs) != _PARTS:
        return None
    chain, read = [splits[0]], int(splits[0].inputs[1])
    for code in _CHAIN[1:]:
        maker = makers.get(read)
        if maker is None or builtin_code(model, maker) != code:
            return None
        chain.append(maker)
        read = int(maker.inputs[0])
    narrowed = StageModel(model, layer.name)
    _Editor(narrowed, makers).edit(chain[::-1], read)
    return narrowed


class _Editor:
    """Changes the graph of a layer.

    Args:
        stage: The layer.
        makers: The operator that computes a tensor.
    """

    def __init__(self, stage: StageModel, makers: dict[int, Any]) -> None:
        self._stage, self._makers = stage, makers
        self._model, self._tensors = stage.model, stage.graph.tensors
        self._made: list[Any] = []
        self._rows: dict[int, int] = {}  # a tensor of all rows → that of the chosen ones

    def edit(self, chain: list[Any], read: int) -> None:
        """Replace `chain`, from the product that reads tensor `read` to the split."""
        inputs, graph = self._stage.inputs, self._stage.graph
        inputs["rows"] = self._add(INDICES)
        whole = set(self._ancestors(read))
        weights = {int(index) for index in chain[0].inputs[1:]}
        for operator in graph.operators:
            if operator is chain[0]:
                for part, out in enumerate(chain[-1].outputs):
                    self._compute_part(chain, part, out, read if part else self._choose(read))
            elif operator not in chain and weights.isdisjoint(operator.outputs):
                if not whole.issuperset(operator.outputs):
                    operator.inputs = [
                        self._choose(i) if i in whole else i for i in map(int, operator.inputs)
                    ]
                self._made.append(operator)
        graph.operators = self._made

    def _ancestors(self, index: int) -> Iterator[int]:
        yield index
        for other in self._makers[index].inputs if index in self._makers else ():
            if not tensor_bytes(self._model, self._tensors[int(other)]):
                yield from self._ancestors(int(other))

    def _choose(self, index: int) -> int:
        """Return the chosen rows of a tensor."""
        if index not in self._rows:
            self._rows[index] = self._clone(index)
            self._gather(index, self._rows[index])
        return self._rows[index]

    def _compute_part(self, chain: list[Any], part: int, out: int, read: int) -> None:
        """Compute the query, key or value of what tensor `read` holds."""
        product, reshape, transpose = chain[:-1]
        given = [read, *(self._cut(int(index), part) for index in product.inputs[1:])]
        made = self._third(int(product.outputs[0]), axis=1)
        self._copy(product, given, made)
        turned = self._third(int(reshape.outputs[0]), axis=1)
        self._copy(reshape, [made, self._cut_shape(int(reshape.inputs[1]))], turned)
        self._made[-1].builtinOptions = None  # the shape is an input
        self._made[-1].builtinOptionsType = 0
        self._copy(transpose, [turned, int(transpose.inputs[1])], int(out))

    def _third(self, index: int, *, axis: int) -> int:
        """Return a computed tensor like `index`, a third as long on an axis."""
        added = self._clone(index)
        tensor = self._tensors[added]
        for name in ("shape", "shapeSignature"):
            if (dims := getattr(tensor, name)) is not None:
                dims = [int(one) for one in dims]
                dims[axis] //= _PARTS
                setattr(tensor, name, dims)
        return added

    def _cut(self, index: int, part: int) -> int:
        """Return a third of the rows of a constant, or of a constant that is dequantized."""
        if index < 0:
            return index
        if (maker := self._makers.get(index)) is not None:
            added = self._third(index, axis=0)
            self._copy(maker, [self._cut(int(maker.inputs[0]), part)], added)
            return added
        data = tensor_bytes(self._model, self._tensors[index])
        size = len(data) // _PARTS
        added = self._third(index, axis=0)
        self._fill(added, data[part * size : (part + 1) * size])
        self._tensors[added].quantization = self._cut_scales(index, part)
        return added

    def _cut_scales(self, index: int, part: int) -> Any:
        quantization = copy.copy(self._tensors[index].quantization)
        if quantization is None:
            return None
        for name in ("scale", "zeroPoint"):
            values = getattr(quantization, name)
            if values is not None and len(values) > 1:
                setattr(quantization, name, np.split(np.asarray(values), _PARTS)[part])
        if quantization.details is not None:
            quantization.details = copy.copy(quantization.details)
            quantization.details.scales = self._cut(int(quantization.details.scales), part)
        return quantization

    def _cut_shape(self, index: int) -> int:
        dims = np.frombuffer(tensor_bytes(self._model, self._tensors[index]), np.int32).copy()
        dims[1] //= _PARTS  # [T, 3N, D]
        added = self._clone(index)
        self._fill(added, dims.tobytes())
        return added

    def _fill(self, index: int, data: bytes) -> None:
        self._tensors[index].buffer = len(self._model.buffers)
        self._model.buffers.append(schema.BufferT(data=data))

    def _clone(self, index: int) -> int:
        return self._add(self._tensors[index])

    def _add(self, like: Any) -> int:
        self._tensors.append(copy.copy(like))
        self._tensors[-1].buffer = 0
        return len(self._tensors) - 1

    def _copy(self, operator: Any, inputs: list[int], output: int) -> None:
        copied = copy.copy(operator)
        copied.inputs, copied.outputs = inputs, [output]
        self._made.append(copied)

    def _gather(self, index: int, output: int) -> None:
        self._model.operatorCodes.append(operator_code(_Op.GATHER, b"", 1))
        self._made.append(
            schema.OperatorT(
                opcodeIndex=len(self._model.operatorCodes) - 1,
                inputs=[index, self._stage.inputs["rows"]],
                outputs=[output],
                builtinOptionsType=schema.BuiltinOptions.GatherOptions,
                builtinOptions=schema.GatherOptionsT(),
            )
        )
