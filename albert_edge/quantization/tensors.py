"""The tensors of a stage model while it is quantized, and their quantization parameters.

`StageTensors` builds the new graph: it holds each float32 tensor of the old one in every type that
the new operators read, and converts between them.  `QuantParams` are scale and zero point;
`CalibrationRanges` are the calibrated minima and maxima that they are chosen from.
"""

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
from albert_edge.tflite.graph import (
    ModelBuilder,
    StageModel,
    builtin_code,
    schema,
    tensor_bytes,
    type_name,
)

_Op = schema.BuiltinOperator
Array = npt.NDArray[Any]
_TYPES: dict[str, int] = {
    name: getattr(schema.TensorType, name.upper())
    for name in ("float32", "float16", "int4", "int8", "int16", "int32", "int64")
}
QMAX = {"int4": 7, "int8": 127, "int16": 32767}  # the largest code; the least is its negative


@dataclass(frozen=True, slots=True)
class QuantParams:
    """Scale and zero point: a code q stands for `(q - zero_point) * scale`.

    Attributes:
        scale: float32, above 0: a number, or [rows].
        zero_point: An int8 code; 0 for all other types.
    """

    scale: Any
    zero_point: int = 0

    def quantization(self) -> Any:
        """Return the `schema.QuantizationParametersT`."""
        scales = np.atleast_1d(np.asarray(self.scale, np.float32))
        zero_points = np.full(scales.size, self.zero_point, np.int64)
        return schema.QuantizationParametersT(
            scale=scales, zeroPoint=zero_points, quantizedDimension=0
        )


def choose_qparams(low: Any, high: Any, dtype: str) -> QuantParams:
    """Choose the finest int8 or int16 quantization that covers [low, high] and 0 exactly."""
    low, high = min(float(np.min(low)), 0.0), max(float(np.max(high)), 0.0)
    if dtype == "int16":
        return QuantParams((max(-low, high) or 1.0) / QMAX[dtype])
    scale = (high - low or 1.0) / 255
    return QuantParams(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRanges:
    """The ranges of a stage's tensors.

    Attributes:
        stats: Calibration statistics by tensor index.
        index: The pass to take ranges of, or None for all passes together.
        boundary_ranges: The largest absolute value of `hidden_states in`, `hidden_states out`,
            `attention_bias in` and `attention_bias out`, on which neighbouring stages must agree.
        headroom: The factor, at least 1, by which int16 ranges exceed the calibrated ones.
        trained: int8 ranges that quantization-aware training learned, by tensor index: float32
            [2, C], minimum and maximum by channel.
    """

    stats: Mapping[int, TensorStats]
    index: int | None = None
    boundary_ranges: Mapping[str, float] = field(default_factory=dict)
    headroom: float = 1.0
    trained: Mapping[int, Array] = field(default_factory=dict)

    def min_max(
        self, tensor: int, dtype: str = "float32", *, all_layers: bool = False
    ) -> tuple[Array, Array]:
        """Return a tensor's minimum and maximum by channel, float32 [C] each.

        Args:
            tensor: Its index in the stage model.
            dtype: The type that it is to be quantized to.
            all_layers: Whether to take all passes together even if `index` names one.
        """
        if dtype == "int8" and tensor in self.trained:
            return self.trained[tensor][0], self.trained[tensor][1]
        stats, passes = self.stats[tensor], slice(None)
        if self.index is not None and not all_layers:
            passes = slice(self.index, self.index + 1)
        return stats.low[passes].min(axis=0), stats.high[passes].max(axis=0)


class StageTensors:
    """A new graph, and for each tensor of a float32 stage its counterparts in that graph.

    Attributes:
        stage: The float32 stage.
        graph: The new graph.
        ranges: The ranges of the stage's tensors.
        qparams: (tensor, type) → quantization parameters, where they are settled.
    """

    def __init__(self, stage: StageModel, ranges: CalibrationRanges) -> None:
        self.stage, self.ranges = stage, ranges
        self.qparams: dict[tuple[int, str], QuantParams] = {}
        self._builder = ModelBuilder()
        self.graph = self._builder.graph(stage.name)
        self._casts: dict[int, dict[str, int]] = {}  # tensor → type → tensor of the new graph
        # Their inputs have one range for all passes: a bias is stored in units of its input's
        # scale, and twelve copies of ALBERT-base's biases would be 1.3 MB.
        self._shared = {
            int(operator.inputs[0])
            for operator in stage.graph.operators
            if self.code(operator) == _Op.FULLY_CONNECTED
        }
        # Tensors that a shape operator wrote have the range of its input.
        self._source = {
            int(out): next(int(index) for index in operator.inputs if self.is_float(index))
            for operator in stage.graph.operators
            if self.code(operator) in SHAPE_OPS
            for out in operator.outputs
            if self.is_float(out)
        }

    # The new graph.

    def add_input(self, name: str, index: int, dtype: str) -> None:
        """Make a tensor an input of the new graph."""
        self._casts[index] = {dtype: self.graph.input(name, self._clone_as(index, dtype))}

    def add_result(self, index: int, dtype: str) -> int:
        """Add the new tensor that an operator will write a tensor to in a type."""
        new = self.graph.tensor(self._clone_as(index, dtype), f"{index}/{dtype}")
        self._casts.setdefault(int(index), {})[dtype] = new
        return new

    def alias(self, index: int, other: int, dtype: str) -> None:
        """Use the tensor `other` for the tensor `index`."""
        self._casts[int(index)] = {dtype: self.cast(other, dtype)}
        self.qparams[int(index), dtype] = self.qparams_of(other, dtype)

    def cast(self, index: int, dtype: str) -> int:
        """Return the new tensor that holds a tensor in a type; convert or add a constant first."""
        if index < 0:
            return index
        index = int(index)
        if index not in self._casts:
            return self.add_constant(index, dtype, self.data(index))
        casts = self._casts[index]
        if dtype not in casts:
            source = self.dtype_of(index)
            if (source, dtype) == ("int8", "int16"):  # nothing is lost
                narrow = self.qparams_of(index, source)
                self.qparams.setdefault((index, dtype), QuantParams(float(narrow.scale) / 128))
            result = self.add_result(index, dtype)
            if dtype == "float32":
                code, options = _Op.DEQUANTIZE, schema.DequantizeOptionsT()
            else:
                code, options = _Op.QUANTIZE, schema.QuantizeOptionsT()
            version = 3 - (source == "int8")
            self.graph.operator(code, [casts[source]], [result], options, version=version)
        return casts[dtype]

    def add_constant(
        self, index: int, dtype: str, data: Array, qparams: QuantParams | None = None
    ) -> int:
        """Add a constant of a type; `data` are codes if `qparams` are given, else real values."""
        if qparams is None and dtype in QMAX:
            qparams = QuantParams((float(np.abs(data).max()) or 1.0) / QMAX[dtype])
            data = np.round(data / qparams.scale)
        like = self.clone(index, dtype, qparams)
        with np.errstate(over="ignore"):  # a float16 that becomes infinite fails verification
            stored = _pack_int4(data) if dtype == "int4" else data.astype(dtype).tobytes()
        return self.graph.constant(like, f"{index}/{dtype}", stored)

    def add_blockwise_constant(self, index: int, codes: Array, scales: Array) -> int:
        """Add an int4 constant with a scale for every block of a row: float32 [rows, blocks]."""
        stored = schema.TensorT(shape=list(scales.shape), type=_TYPES["float16"], hasRank=True)
        halves = scales.astype(np.float16).tobytes()
        details = schema.BlockwiseQuantizationT(
            scales=self.graph.constant(stored, f"{index}/scales", halves),
            zeroPoints=-1,
            blockSize=codes.shape[1] // scales.shape[1],
        )
        like = self.clone(index, "int4", None)
        like.quantization = schema.QuantizationParametersT(
            detailsType=schema.QuantizationDetails.BlockwiseQuantization, details=details
        )
        return self.graph.constant(like, f"{index}/int4", _pack_int4(codes))

    def clone(self, index: int, dtype: str, qparams: QuantParams | None) -> Any:
        """Return a `schema.TensorT` of a tensor's shape, in a type."""
        tensor = copy.copy(self.stage.graph.tensors[int(index)])
        tensor.type = _TYPES[dtype]
        tensor.quantization = None if qparams is None else qparams.quantization()
        return tensor

    def _clone_as(self, index: int, dtype: str) -> Any:
        return self.clone(index, dtype, self.qparams_of(index, dtype) if dtype in QMAX else None)

    def qparams_of(self, index: int, dtype: str) -> QuantParams:
        """Return a tensor's quantization parameters: as settled, or from its range."""
        index = int(index)
        if (index, dtype) not in self.qparams:
            source = index
            while source in self._source:
                source = self._source[source]
            low, high = self.ranges.min_max(source, dtype, all_layers=index in self._shared)
            headroom = self.ranges.headroom if dtype == "int16" else 1.0
            self.qparams[index, dtype] = choose_qparams(low * headroom, high * headroom, dtype)
        return self.qparams[index, dtype]

    def dtype_of(self, index: int) -> str:
        """Return the type that the new graph holds a tensor in, the most exact of several."""
        casts = self._casts[int(index)]
        return next(dtype for dtype in ("float32", "int16", "int8", "int32") if dtype in casts)

    def build(self, outputs: dict[str, int]) -> StageModel:
        """Give the new graph its outputs and return the stage model."""
        self._builder.sign("serving_default", self.graph, outputs)
        return StageModel(self._builder.build(), self.stage.name)

    # The float32 stage.

    def code(self, operator: Any) -> int:
        """Return an operator's builtin code."""
        return builtin_code(self.stage.model, operator)

    def version(self, operator: Any) -> int:
        """Return an operator's version."""
        return int(self.stage.model.operatorCodes[operator.opcodeIndex].version)

    def rank(self, index: int) -> int:
        """Return a tensor's number of dimensions."""
        return len(self.stage.graph.tensors[int(index)].shape)

    def is_float(self, index: int) -> bool:
        """Return whether a tensor is float32; False for an input that is left out (-1)."""
        return index >= 0 and self.stage.graph.tensors[int(index)].type == _TYPES["float32"]

    def data(self, index: int) -> Array:
        """Return a constant's values, of the shape and type that the stage has."""
        tensor = self.stage.graph.tensors[int(index)]
        stored = np.frombuffer(tensor_bytes(self.stage.model, tensor), type_name(tensor))
        return stored.reshape([int(size) for size in tensor.shape])

    def is_constant(self, index: int) -> bool:
        """Return whether a tensor is stored, not computed."""
        return bool(tensor_bytes(self.stage.model, self.stage.graph.tensors[int(index)]))

    def producer(self, index: int) -> Any:
        """Return the operator that computes a tensor, or None for an input or a constant."""
        return next((op for op in self.stage.graph.operators if index in list(op.outputs)), None)

    def consumers(self, index: int) -> list[Any]:
        """Return the operators that read a tensor; none for an output of the stage."""
        return [op for op in self.stage.graph.operators if index in list(op.inputs)]

    def part(self, operator: Any) -> str | None:
        """Return the entry of `PARTS` that an operator belongs to, by its tensors' names."""
        tensors = [operator.inputs[0], operator.inputs[1], operator.outputs[0]]
        names = ";".join(self.stage.graph.tensors[i].name.decode() for i in tensors)
        stage = self.stage.name.partition("_")[0]
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
