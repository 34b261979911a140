"""Give query, key and value ranges of one size, at no cost: the neighbours' weights take it up.

The three come out of one product and so, in integers, have one scale.  In a trained ALBERT keys
are twenty times as large as (scaled) queries, which were left with three of their eight bits.
Attention multiplies a query's channel with the same channel of a key, so any factor can move from
one to the other; a factor of a value's channel can be divided out of the output's weights.  As in
SmoothQuant (Xiao et al. 2022, arXiv:2211.10438, sec. 4), but between two activations, and for the
one layer in all its passes at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.compression.observe import Observed
from albert_edge.lite.builder import Piece
from albert_edge.lite.flatbuffer import pack, schema
from albert_edge.lite.steps import Array, Ranges
from albert_edge.lite.values import Values

__all__ = ["equalize", "equalizing_factors"]

_Op = schema.BuiltinOperator


def equalize(piece: Piece, seen: Mapping[int, Observed]) -> tuple[Piece, dict[int, Observed]]:
    """Move scales between query, key, value and the output's weights.

    Args:
        piece: A float32 layer.
        seen: What its tensors held.

    Returns:
        A layer that computes the same, and what its tensors would have held.
    """
    values = Values(piece, Ranges(seen=seen))
    products = [op for op in piece.graph.operators if values.code(op) == _Op.FULLY_CONNECTED]
    fused = [op for op in products if values.part(op) == "layer.attention_query_key_value"]
    outputs = [op for op in products if values.part(op) == "layer.attention_output"]
    contexts = [
        int(op.outputs[0])
        for op in piece.graph.operators
        if values.code(op) == _Op.BATCH_MATMUL and not op.builtinOptions.adjY
    ]
    adjusted = dict(seen)
    for first, context, last in zip(fused, contexts, outputs, strict=True):
        factors = equalizing_factors(values.ranges.bounds(int(first.outputs[0]), "float32"))  # [3H]
        of_values = factors[len(factors) // 3 * 2 :]
        _scale(values, first, 1, factors[:, None])
        _scale(values, first, 2, factors)
        _scale(values, last, 1, 1 / of_values)
        for tensor, scale in ((first.outputs[0], factors), (context, of_values)):
            held = adjusted[int(tensor)]
            adjusted[int(tensor)] = replace(held, low=held.low * scale, high=held.high * scale)
        read = adjusted[int(last.inputs[0])]
        adjusted[int(last.inputs[0])] = replace(
            read,
            low=read.low * of_values,
            high=read.high * of_values,
            gram=_regram(read, of_values),
        )
    return Piece(pack(piece.model), piece.name), adjusted


def equalizing_factors(bounds: tuple[Array, Array]) -> Array:
    """Return what to multiply queries, keys and values with, float32 [3H], given their ranges."""
    low, high = bounds
    sizes = np.maximum(np.maximum(-low, high), 1e-6)
    query, key, value = np.split(sizes, 3)  # [H]
    move = np.sqrt(key / query)
    largest = (query * move).max()
    return np.concatenate([move, 1 / move, largest / value]).astype(np.float32)


def _scale(values: Values, operator: Any, place: int, factors: Array) -> None:
    """Give an operator a scaled constant of its own: others may read the one that it had."""
    if len(operator.inputs) <= place or operator.inputs[place] < 0:
        return
    model, graph = values.piece.model, values.piece.graph
    old = int(operator.inputs[place])
    scaled = (values.data(old) * factors).astype(np.float32)
    tensor = copy.copy(graph.tensors[old])
    tensor.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT(data=scaled.tobytes()))
    graph.tensors.append(tensor)
    operator.inputs = [
        *operator.inputs[:place],
        len(graph.tensors) - 1,
        *operator.inputs[place + 1 :],
    ]


def _regram(held: Observed, factors: Array) -> Any:
    return None if held.gram is None else held.gram * np.outer(factors, factors)
