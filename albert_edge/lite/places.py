"""Find the 8-bit values of a layer in its piece, by the names that trained ranges go by."""

from __future__ import annotations

from typing import Any

from albert_edge.lite.builder import Piece
from albert_edge.lite.flatbuffer import builtin_code, schema

__all__ = ["find_places"]

_Op = schema.BuiltinOperator


def find_places(piece: Piece) -> dict[str, int]:
    """Return the tensors of a float32 layer by the names of `checkpoints.ranges`.

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


def _all(piece: Piece, code: int) -> list[Any]:
    return [op for op in piece.graph.operators if builtin_code(piece.model, op) == code]
