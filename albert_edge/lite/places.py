"""Find the 8-bit values of a layer in its piece, by the names that trained ranges go by."""

from __future__ import annotations

from typing import Any

from albert_edge.lite.builder import Piece
from albert_edge.lite.flatbuffer import schema
from albert_edge.lite.steps import Ranges
from albert_edge.lite.values import Values

__all__ = ["find_places"]

_Op = schema.BuiltinOperator


def find_places(piece: Piece) -> dict[str, int]:
    """Return the tensors of a float32 layer by the names of `checkpoints.ranges`.

    Args:
        piece: `layer_0`, or the layer of another group.
    """
    values = Values(piece, Ranges(seen={}))
    group = piece.name.removeprefix("layer_")
    layers = zip(
        _products(values, "layer.attention_query_key_value"),
        _scores(values, transposed=True),
        _scores(values, transposed=False),
        _products(values, "layer.attention_output"),
        _products(values, "layer.ffn_intermediate"),
        _products(values, "layer.ffn_output"),
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


def _products(values: Values, part: str) -> list[Any]:
    operators = values.piece.graph.operators
    products = (op for op in operators if values.code(op) == _Op.FULLY_CONNECTED)
    return [op for op in products if values.part(op) == part]


def _scores(values: Values, *, transposed: bool) -> list[Any]:
    operators = values.piece.graph.operators
    products = (op for op in operators if values.code(op) == _Op.BATCH_MATMUL)
    return [op for op in products if op.builtinOptions.adjY == transposed]
