"""The values of a piece that is being rewritten: each in every type that somebody reads it in."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.quantization.calibration import SHAPE_OPS, TensorStats
from albert_edge.quantization.recipes import PARTS
from albert_edge.tflite.graph import ModelBuilder, StageModel, builtin_code, schema, tensor_bytes

__all__ = ["QMAX", "TYPES", "CalibrationRanges", "QuantParams", "StageTensors", "choose_qparams"]

_Op = schema.BuiltinOperator
Array = npt.NDArray[Any]
TYPES: dict[str, int] = {
    name: getattr(schema.TensorType, name.upper())
    for name in ("float32", "float16", "int4", "int8", "int16", "int32", "int64")
}
# The greatest code of each type; the least is its negative.
QMAX = {"int4": 7, "int8": 127, "int16": 32767}


class StageTensors:
    """A new graph, and where in it the values of a float32 piece are.

    Attributes:
        piece: What is rewritten.
        graph: The new graph.
        ranges: What the values held.
        steps: How the integers of (tensor, type) stand for values, where that is settled.
    """

    def __init__(self, piece: StageModel, ranges: CalibrationRanges) -> None:
        self.piece, self.ranges = piece, ranges
        self.steps: dict[tuple[int, str], QuantParams] = {}
        self._model = ModelBuilder()
        self.graph = self._model.graph(piece.name)
        self._at: dict[int, dict[str, int]] = {}
        # Their inputs have one range for all passes: a bias is stored in its input's steps, and
        # twelve copies of ALBERT-base's biases would be 1.3 MB.
        self._shared = {
            int(operator.inputs[0])
            for operator in piece.graph.operators
            if builtin_code(piece.model, operator) == _Op.FULLY_CONNECTED
        }
        # Values that were only moved have the range that they had before.
        self._before = {
            int(out): next(int(index) for index in operator.inputs if self.is_float(index))
            for operator in piece.graph.operators
            if builtin_code(piece.model, operator) in SHAPE_OPS
            for out in operator.outputs
            if self.is_float(out)
        }

    def read(self, index: int, kind: str) -> int:
        """Return the new tensor that holds a value in a type, after a conversion if need be."""
        if index < 0:
            return index
        index = int(index)
        if index not in self._at:
            return self.constant(index, kind, self.data(index))
        at = self._at[index]
        if kind not in at:
            source = self.kind(index)
            if (source, kind) == ("int8", "int16"):  # nothing is lost
                narrow = self.steps_at(index, source)
                self.steps.setdefault((index, kind), QuantParams(float(narrow.scale) / 128))
            result = self.write(index, kind)
            if kind == "float32":
                code, options = _Op.DEQUANTIZE, schema.DequantizeOptionsT()
            else:
                code, options = _Op.QUANTIZE, schema.QuantizeOptionsT()
            self.graph.operator(
                code, [at[source]], [result], options, version=3 - (source == "int8")
            )
        return at[kind]

    def write(self, index: int, kind: str) -> int:
        """Add the new tensor that an operator will fill with a value in a type."""
        steps = self.steps_at(index, kind) if kind in QMAX else None
        self._at.setdefault(int(index), {})[kind] = self.graph.tensor(
            self.like(index, kind, steps), f"{index}/{kind}"
        )
        return self._at[int(index)][kind]

    def enter(self, name: str, index: int, kind: str) -> None:
        """Make a value an input of the new graph."""
        steps = self.steps_at(index, kind) if kind in QMAX else None
        self._at[index] = {kind: self.graph.input(name, self.like(index, kind, steps))}

    def alias(self, index: int, other: int, kind: str) -> None:
        """Let a value be another one."""
        self._at[int(index)] = {kind: self.read(other, kind)}
        self.steps[int(index), kind] = self.steps_at(other, kind)

    def constant(self, index: int, kind: str, data: Array, steps: QuantParams | None = None) -> int:
        """Add a constant of a type: codes, where `steps` are given, or else values."""
        index = int(index)
        if steps is None and kind in QMAX:
            steps = QuantParams((float(np.abs(data).max()) or 1.0) / QMAX[kind])
            data = np.round(data / steps.scale)
        like = self.like(index, kind, steps)
        with np.errstate(over="ignore"):  # a float16 that becomes infinite fails verification
            stored = _pack_int4(data) if kind == "int4" else data.astype(kind).tobytes()
        return self.graph.constant(like, f"{index}/{kind}", stored)

    def blocks(self, index: int, codes: Array, scales: Array) -> int:
        """Add an int4 constant with a scale for every block of a row: float32 [rows, blocks]."""
        stored = schema.TensorT(shape=list(scales.shape), type=TYPES["float16"], hasRank=True)
        halves = scales.astype(np.float16).tobytes()
        details = schema.BlockwiseQuantizationT(
            scales=self.graph.constant(stored, f"{index}/scales", halves),
            zeroPoints=-1,
            blockSize=codes.shape[1] // scales.shape[1],
        )
        like = self.like(index, "int4", None)
        like.quantization = schema.QuantizationParametersT(
            detailsType=schema.QuantizationDetails.BlockwiseQuantization, details=details
        )
        return self.graph.constant(like, f"{index}/int4", _pack_int4(codes))

    def like(self, index: int, kind: str, steps: QuantParams | None) -> Any:
        """Return a tensor of the shape of an old one, in a type."""
        tensor = copy.copy(self.piece.graph.tensors[int(index)])
        tensor.type = TYPES[kind]
        tensor.quantization = None if steps is None else steps.quantization()
        return tensor

    def steps_at(self, index: int, kind: str) -> QuantParams:
        """Return how the integers of a value stand for it: as settled, or by its range."""
        index = int(index)
        if (index, kind) not in self.steps:
            source = index
            while source in self._before:
                source = self._before[source]
            low, high = self.ranges.bounds(source, kind, everywhere=index in self._shared)
            room = self.ranges.headroom if kind == "int16" else 1.0
            self.steps[index, kind] = choose_qparams(low * room, high * room, kind)
        return self.steps[index, kind]

    def kind(self, index: int) -> str:
        """Return the type that a value is at hand in, the most exact one of several."""
        at = self._at[int(index)]
        return next(kind for kind in ("float32", "int16", "int8", "int32") if kind in at)

    def finish(self, outputs: dict[str, int]) -> bytes:
        """Give the new graph its outputs and return the piece."""
        self._model.sign("serving_default", self.graph, outputs)
        return self._model.pack()

    # The old piece.

    def code(self, operator: Any) -> int:
        return builtin_code(self.piece.model, operator)

    def version(self, operator: Any) -> int:
        return int(self.piece.model.operatorCodes[operator.opcodeIndex].version)

    def rank(self, index: int) -> int:
        return len(self.piece.graph.tensors[int(index)].shape)

    def is_float(self, index: int) -> bool:
        return index >= 0 and self.piece.graph.tensors[int(index)].type == TYPES["float32"]

    def data(self, index: int) -> Array:
        """Return a constant's values, of the shape and type that the old piece has."""
        tensor = self.piece.graph.tensors[int(index)]
        names = {code: name for name, code in TYPES.items()}
        stored = np.frombuffer(tensor_bytes(self.piece.model, tensor), names[tensor.type])
        return stored.reshape([int(size) for size in tensor.shape])

    def is_constant(self, index: int) -> bool:
        return bool(tensor_bytes(self.piece.model, self.piece.graph.tensors[int(index)]))

    def maker(self, index: int) -> Any:
        """Return the operator that computes a value, or None for an input or a constant."""
        made = (op for op in self.piece.graph.operators if index in [int(i) for i in op.outputs])
        return next(made, None)

    def readers(self, index: int) -> list[Any]:
        return [op for op in self.piece.graph.operators if index in [int(i) for i in op.inputs]]

    def part(self, operator: Any) -> str | None:
        """Return which of `PARTS` an operator's weight is, by the names that the pieces gave."""
        tensors = [operator.inputs[0], operator.inputs[1], operator.outputs[0]]
        names = ";".join(self.piece.graph.tensors[i].name.decode() for i in tensors)
        stage = self.piece.name.partition("_")[0]
        for part in PARTS:
            prefix, _, scope = part.partition(".")
            path = scope.replace("attention_", "attention/").replace("ffn_", "ffn/")
            if prefix == stage and re.search(rf"(^|;){path}(_\d+)?/(MatMul|Gather|Const)", names):
                return part
        return None


def _pack_int4(codes: Array) -> bytes:
    """Pack 4-bit codes two to a byte, the first one in the lower half."""
    flat = codes.astype(np.int8).ravel().view(np.uint8) & 15
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return bytes(flat[::2] | flat[1::2] << 4)


# How integers stand for values, and what calibration knows of the values in a piece.


@dataclass(frozen=True, slots=True)
class QuantParams:
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
class CalibrationRanges:
    """What calibration knows of the values in a piece.

    Attributes:
        seen: What its tensors held.
        index: The pass to take ranges of, or None for all passes together.
        edges: The greatest absolute value at `hidden_states in`, `hidden_states out`,
            `attention_bias in` and `attention_bias out`: the pieces on both sides must agree.
        headroom: How much larger than seen a value of 16 bits may become.
        trained: What 8 bits of a tensor reach from and to, by training: float32 [2, C].
    """

    seen: Mapping[int, TensorStats]
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


def choose_qparams(low: Any, high: Any, kind: str) -> QuantParams:
    """Choose the finest steps of a type that reach from `low` to `high` and hold 0 exactly."""
    low, high = min(float(np.min(low)), 0.0), max(float(np.max(high)), 0.0)
    if kind == "int16":
        return QuantParams((max(-low, high) or 1.0) / QMAX[kind])
    scale = (high - low or 1.0) / 255
    return QuantParams(scale, int(np.clip(round(-128 - low / scale), -128, 127)))
