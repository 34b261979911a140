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

from albert_edge.quantization.calibration import TensorStats
from albert_edge.quantization.tensors import Array, CalibrationRanges, StageTensors
from albert_edge.tflite.graph import StageModel, builtin_code, pack, schema

__all__ = ["equalize", "equalizing_factors", "name_activations"]

_Op = schema.BuiltinOperator


def equalize(
    piece: StageModel, seen: Mapping[int, TensorStats]
) -> tuple[StageModel, dict[int, TensorStats]]:
    """Move scales between query, key, value and the output's weights.

    Args:
        piece: A float32 layer.
        seen: What its tensors held.

    Returns:
        A layer that computes the same, and what its tensors would have held.
    """
    values = StageTensors(piece, CalibrationRanges(seen=seen))
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
            gram=_rescale_hessian(read, of_values),
        )
    return StageModel(pack(piece.model), piece.name), adjusted


def equalizing_factors(bounds: tuple[Array, Array]) -> Array:
    """Return what to multiply queries, keys and values with, float32 [3H], given their ranges."""
    low, high = bounds
    sizes = np.maximum(np.maximum(-low, high), 1e-6)
    query, key, value = np.split(sizes, 3)  # [H]
    move = np.sqrt(key / query)
    largest = (query * move).max()
    return np.concatenate([move, 1 / move, largest / value]).astype(np.float32)


def _scale(values: StageTensors, operator: Any, place: int, factors: Array) -> None:
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


def _rescale_hessian(held: TensorStats, factors: Array) -> Any:
    return None if held.gram is None else held.gram * np.outer(factors, factors)


# Find the 8-bit values of a layer in its piece, by the names that trained ranges go by.


def name_activations(piece: StageModel) -> dict[str, int]:
    """Return the tensors of a float32 layer by the names of `checkpoints.activation_ranges`.

    Args:
        piece: `layer_0`, or the layer of another group.
    """
    group = piece.name.removeprefix("layer_")
    # Of each layer, in the order in which it computes.
    products = _all(piece, _Op.FULLY_CONNECTED)
    scores, contexts = (_all(piece, _Op.BATCH_MATMUL)[index::2] for index in (0, 1))
    layers = zip(
        products[0::4],
        scores,
        contexts,
        products[1::4],
        products[2::4],
        products[3::4],
        strict=True,
    )
    return {
        f"encoder/group_{group}/layer_{index}/{name}": int(tensor)
        for index, (fused, scores, context, attended, inner, outer) in enumerate(layers)
        for name, tensor in {
            "attention/input": fused.inputs[0],
            "attention/query_key_value": fused.outputs[0],
            "attention/scores": scores.outputs[0],
            "attention/context": context.outputs[0],
            "attention/output": attended.outputs[0],
            "ffn/input": inner.inputs[0],
            "ffn/intermediate": inner.outputs[0],
            "ffn/activation": outer.inputs[0],  # of a ReLU the same: it is part of the product
            "ffn/output": outer.outputs[0],
        }.items()
    }


def _all(piece: StageModel, code: int) -> list[Any]:
    return [op for op in piece.graph.operators if builtin_code(piece.model, op) == code]
