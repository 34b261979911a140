"""How integers stand for values, and what calibration knows of the values in a piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.compression.observe import Observed
from albert_edge.lite.flatbuffer import schema

__all__ = ["MOST", "TYPES", "Ranges", "Steps", "steps_of"]

Array = npt.NDArray[Any]

TYPES: dict[str, int] = {
    name: getattr(schema.TensorType, name.upper())
    for name in ("float32", "float16", "int4", "int8", "int16", "int32", "int64")
}
# The greatest code of each type; the least is its negative.
MOST = {"int4": 7, "int8": 127, "int16": 32767}


@dataclass(frozen=True, slots=True)
class Steps:
    """How integers stand for values: `(q - zero) * scale`, of one scale or one a row."""

    scale: Any  # a number, or float32 [rows]
    zero: int = 0

    def quantization(self) -> Any:
        """Return the flatbuffer's form."""
        scales = np.atleast_1d(np.asarray(self.scale, np.float32))
        return schema.QuantizationParametersT(
            scale=scales, zeroPoint=np.full(scales.size, self.zero, np.int64), quantizedDimension=0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """What calibration knows of the values in a piece.

    Attributes:
        seen: What its tensors held.
        index: The pass to take ranges of, or None for all passes together.
        edges: The greatest absolute value at `hidden_states in`, `hidden_states out`,
            `attention_bias in` and `attention_bias out`: the pieces on both sides must agree.
        headroom: How much larger than seen a value of 16 bits may become.
        trained: What 8 bits of a tensor reach from and to, by training: float32 [2, C].
    """

    seen: Mapping[int, Observed]
    index: int | None = None
    edges: Mapping[str, float] = field(default_factory=dict)
    headroom: float = 1.0
    trained: Mapping[int, Array] = field(default_factory=dict)

    def bounds(
        self, tensor: int, kind: str = "float32", *, everywhere: bool = False
    ) -> tuple[Array, Array]:
        """Return the least and the greatest value by channel, float32 [C] each.

        Args:
            tensor: Its index in the piece.
            kind: The type that it is to be held in.
            everywhere: Whether to take all passes together also where one is chosen.
        """
        if kind == "int8" and tensor in self.trained:
            return self.trained[tensor][0], self.trained[tensor][1]
        seen = self.seen[tensor]
        chosen = (
            slice(None) if everywhere or self.index is None else slice(self.index, self.index + 1)
        )
        return seen.low[chosen].min(axis=0), seen.high[chosen].max(axis=0)


def steps_of(low: Any, high: Any, kind: str) -> Steps:
    """Choose the finest steps of a type that reach from `low` to `high` and hold 0 exactly."""
    low, high = min(float(np.min(low)), 0.0), max(float(np.max(high)), 0.0)
    if kind == "int16":
        return Steps((max(-low, high) or 1.0) / MOST[kind])
    scale = (high - low or 1.0) / 255
    return Steps(scale, int(np.clip(round(-128 - low / scale), -128, 127)))
