"""The integers that weights are stored as, while the weights are still trained."""

from __future__ import annotations

import math
import re
from typing import Any

import tensorflow as tf

from albert_edge.compression.matrices import channel_axis
from albert_edge.compression.recipes import Recipe
from albert_edge.compression.rounding import TABLE_BLOCK, block_of
from albert_edge.compression.tfmot import quantizers

__all__ = ["Grid", "grid_of"]

_BITS = {"int8": 8, "int4": 4}
# How the parts of a recipe are called where they differ from the ends of canonical names.
_STAGES = {"embeddings": "embed", "encoder": "layer"}
_FUSED = re.compile(r"attention_(query|key|value)$")


class Grid:
    """The values that a weight can have in a file, which follow from its largest ones.

    Args:
        bits: Of a number.
        block: How many neighbours in a row of the file share a scale; None for all of them.
        axis: Along which axis the neighbours lie; None if the whole weight has one scale.
    """

    def __init__(self, bits: int, block: int | None, axis: int | None) -> None:
        self._most = 2 ** (bits - 1) - 1
        self._block, self._axis = block, axis
        self._quantizer = quantizers.LastValueQuantizer(
            num_bits=bits, per_axis=axis is not None, symmetric=True, narrow_range=True
        )

    def round(self, weight: Any) -> Any:
        """Return a matrix on the grid; the gradient goes straight through."""
        if self._axis is None:
            return self._fake(weight, None)
        columns = weight if self._axis == 0 else tf.transpose(weight)  # [inputs, outputs]
        shape = tf.shape(columns)
        size = self._block or shape[0]
        blocks = tf.reshape(columns, [-1, size, shape[1]])  # [blocks, size, outputs]
        flat = tf.reshape(tf.transpose(blocks, [1, 0, 2]), [size, -1])
        rounded = tf.reshape(self._fake(flat, 0), [size, -1, shape[1]])
        columns = tf.reshape(tf.transpose(rounded, [1, 0, 2]), shape)
        return columns if self._axis == 0 else tf.transpose(columns)

    def _fake(self, numbers: Any, axis: int | None) -> Any:
        scales = tf.reduce_max(tf.abs(numbers), axis=axis) / self._most
        if self._block:  # the file holds the scales of blocks as float16, the kernels as bfloat16
            scales = tf.cast(tf.cast(tf.maximum(scales, 2.0**-17), tf.bfloat16), tf.float32)
        scales = tf.where(scales > 0, scales, 1.0)
        # Not its own last values: it would find them, but not round them.
        bounds = {"min_var": -self._most * scales, "max_var": self._most * scales}
        return self._quantizer(numbers, training=False, weights=bounds)


def grid_of(name: str, shape: tuple[int, ...], recipe: Recipe) -> Grid | None:
    """Return the grid of the weight of this canonical name in a recipe; None if it stays float."""
    if not name.endswith(("/kernel", "_embeddings")):
        return None
    kind = recipe.stored(_part_of(name), math.prod(shape))
    axis = channel_axis(name)
    if kind not in _BITS:
        return None
    if kind == "int8":
        return Grid(8, None, axis)
    if axis is None:
        return Grid(4, block_of(shape[1], wanted=TABLE_BLOCK), 1)
    return Grid(4, block_of(shape[0], wanted=recipe.block), axis)


def _part_of(name: str) -> str:
    """Name the part of a recipe that a canonical name is of."""
    stage, *rest = name.removesuffix("/kernel").split("/")
    if stage == "encoder":
        rest = rest[2:]  # without group and layer
    part = f"{_STAGES.get(stage, 'head')}.{'_'.join(rest) if stage in _STAGES else stage}"
    return _FUSED.sub("attention_query_key_value", part)
