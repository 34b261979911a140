"""Rewrite a float32 piece in the precision of a recipe.

Every operator is copied in the type that its part calls for, and wherever a value is at hand in
another type than an operator reads, a QUANTIZE or DEQUANTIZE stands at the seam.  So a piece can
hold 8-bit products, 16-bit sums and float parts side by side, which no converter offers.

Integers follow TFLite's specification (https://ai.google.dev/edge/litert/models/quantization_spec):
int8 weights symmetric per output channel, int8 values with a zero point, int16 values without.
Two things are ours:

- A product that ends in a 16-bit sum has a range of its own for every output channel.  Its
  weights' scales are divided by the channel's size, and a 16-bit MUL multiplies it back: one
  channel of a trained ALBERT's feed-forward output is a hundred times as large as most.
- 16-bit products have 32-bit biases and so 32-bit sums, for which LiteRT has a kernel 25 times as
  fast as the one for the 64-bit biases that the stock converter writes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from albert_edge.errors import ConversionError
from albert_edge.quantization.calibration import SHAPE_OPS
from albert_edge.quantization.gptq import TABLE_BLOCK, block_size, quantize_weight
from albert_edge.quantization.recipes import Precision, Recipe
from albert_edge.quantization.tensors import (
    QMAX,
    Array,
    CalibrationRanges,
    QuantParams,
    StageTensors,
    choose_qparams,
)
from albert_edge.tflite.graph import StageModel, schema

__all__ = ["MASK_MARGIN", "quantize_stage"]

_Op = schema.BuiltinOperator
# Padding scores this much less than any token: e^-11 is 1/60000; 8 bits of softmax end at 1/256.
MASK_MARGIN = 11.0
_HEADROOM = 8  # how much larger than in calibration a 32-bit sum may become
# What the kernels fix: type → the steps of what comes out.
_FIXED_QPARAMS = {
    _Op.SOFTMAX: {"int8": QuantParams(1 / 256, -128), "int16": QuantParams(1 / 32768)},
    _Op.TANH: {"int8": QuantParams(1 / 128), "int16": QuantParams(1 / 32768)},
}
# The least version of an operator that takes a type, where it is not the float one
# (tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc).
_VERSIONS = {
    "int8": {
        _Op.ADD: 2, _Op.BATCH_MATMUL: 2, _Op.SOFTMAX: 2, _Op.GELU: 2, _Op.TANH: 2, _Op.GATHER: 2,
        _Op.TRANSPOSE: 2, _Op.SPLIT: 2, _Op.SLICE: 2, _Op.STRIDED_SLICE: 2,
    },
    "int16": {
        _Op.ADD: 2, _Op.SUB: 5, _Op.MUL: 4, _Op.MEAN: 3, _Op.RSQRT: 3, _Op.BATCH_MATMUL: 3,
        _Op.SOFTMAX: 3, _Op.GELU: 2, _Op.TANH: 3, _Op.GATHER: 4, _Op.TRANSPOSE: 4, _Op.SPLIT: 4,
        _Op.SLICE: 4, _Op.STRIDED_SLICE: 4,
    },
}  # fmt: skip


def quantize_stage(
    piece: StageModel, recipe: Recipe, ranges: CalibrationRanges | None = None
) -> bytes:
    """Rewrite a piece.

    Args:
        piece: A float32 piece; its name (`embed`, `layer_0`, `head`) tells its parts.
        recipe: What every part becomes.
        ranges: What the values between operators held; for a calibrated or rounded recipe.

    Raises:
        ConversionError: An operator has no kernel in the recipe's types.
    """
    return _StageQuantizer(piece, recipe, ranges or CalibrationRanges(seen={})).run()


class _StageQuantizer:
    def __init__(self, piece: StageModel, recipe: Recipe, ranges: CalibrationRanges) -> None:
        self._recipe = recipe
        self._scores = recipe.of("layer.attention_scores").arithmetic
        self._values = StageTensors(piece, ranges)

    def run(self) -> bytes:
        values, piece = self._values, self._values.piece
        for direction, edges in (("in", piece.inputs), ("out", piece.outputs)):
            for name, index in edges.items():
                kind = self._edge(name)
                if kind in QMAX:
                    limit = values.ranges.edges[f"{name} {direction}"]
                    values.steps[index, kind] = QuantParams(limit / QMAX[kind])
        for name, index in piece.inputs.items():
            values.enter(name, index, self._edge(name))
        for operator in piece.graph.operators:
            self._rewrite(operator)
        return values.finish(
            {name: values.read(index, self._edge(name)) for name, index in piece.outputs.items()}
        )

    def _edge(self, name: str) -> str:
        """Return the type of what a piece reads or gives."""
        kinds = {"hidden_states": self._recipe.between, "attention_bias": self._scores}
        return kinds.get(name, "int32" if name in self._values.piece.inputs else "float32")

    def _rewrite(self, operator: Any) -> None:
        code = self._values.code(operator)
        tensors = (*operator.inputs, *operator.outputs)
        if not any(self._values.is_float(index) for index in tensors):
            self._copy(operator, "int32")
        elif code in _HANDLERS:
            _HANDLERS[code](self, operator)
        else:
            raise ConversionError(
                f"piece {self._values.piece.name!r} holds operator {code}, which no recipe carries."
            )

    def _look_up(self, operator: Any) -> None:
        values, (table, rows), out = self._values, operator.inputs, int(operator.outputs[0])
        part = values.part(operator)
        if part is None:
            read, kind = self._bias_table(table, out), self._scores
        else:
            kind = self._weight_kind(part, values.data(table))
            read = self._weight(table, kind, part)
            if kind == "int4":  # the one operator that knows a scale for every row or block
                write = values.write(out, "float32")
                values.graph.operator(
                    _Op.EMBEDDING_LOOKUP, [values.read(rows, "int32"), read], [write], version=4
                )
                return
            if kind == "int8":
                values.steps[out, kind] = values.steps[int(table), kind]
            kind = kind if kind == "int8" else "float32"
        self._emit(operator, kind, [read, values.read(rows, "int32")])

    def _bias_table(self, table: int, out: int) -> int:
        """Store what masks padding: in integers a small value, or it would take all the range."""
        values, data = self._values, self._values.data(table)
        if self._scores in QMAX:
            data = np.where(data < 0, -values.ranges.edges["attention_bias out"], 0)
        return values.constant(table, self._scores, data)

    def _multiply(self, operator: Any) -> None:
        part = self._values.part(operator)
        precision = self._recipe.of(part) if part else Precision("float32", "float32")
        if precision.arithmetic == "float32":
            self._multiply_floats(operator, part)
        else:
            self._multiply_integers(operator, part, precision.arithmetic)

    def _multiply_floats(self, operator: Any, part: str | None) -> None:
        values, (read, weight, *bias) = self._values, operator.inputs
        kind = self._weight_kind(part, values.data(weight)) if part else "float32"
        inputs = [values.read(read, "float32"), self._weight(weight, kind, part, int(read))]
        inputs += [values.read(index, "float32") for index in bias]
        options = copy.copy(operator.builtinOptions)
        options.asymmetricQuantizeInputs = kind in QMAX
        self._emit(operator, "float32", inputs, options, version=12 if kind in QMAX else 1)

    def _multiply_integers(self, operator: Any, part: str | None, kind: str) -> None:
        values, (read, weight, *bias) = self._values, operator.inputs
        out = int(operator.outputs[0])
        by_row = self._recipe.by_row and kind == "int8" and self._ends_in_sum(out)
        rows = self._row_sizes(out) if by_row else np.float32(1)
        codes, scales = self._rounded(weight, "int8", part, int(read))
        inputs = [
            values.read(read, kind),
            values.constant(weight, "int8", codes, QuantParams(scales / rows)),
        ]
        steps = np.float32(values.steps_at(read, kind).scale) * scales / rows
        if bias and bias[0] >= 0:
            wide = "int64" if self._overflows(out, steps * rows, kind) else "int32"
            whole = np.round(values.data(bias[0]) / rows / steps.astype(np.float64))
            inputs.append(values.constant(bias[0], wide, whole, QuantParams(steps)))
        if by_row:
            self._emit_by_row(operator, inputs, rows)
        else:
            self._emit(operator, kind, inputs, version=12)

    def _ends_in_sum(self, out: int) -> bool:
        readers = self._values.readers(out)  # none where it leaves the piece
        return all(self._values.code(operator) == _Op.ADD for operator in readers)

    def _row_sizes(self, out: int) -> Array:
        """Return the greatest absolute value of each channel in all passes, on 16-bit steps."""
        low, high = self._values.ranges.bounds(out, "int8", everywhere=True)
        sizes = np.maximum(-low, high)
        step = (float(sizes.max()) or 1.0) / QMAX["int16"]
        rows: Array = np.maximum(np.round(sizes / step), 1).astype(np.float32) * np.float32(step)
        return rows

    def _emit_by_row(self, operator: Any, inputs: list[int], rows: Array) -> None:
        values, out = self._values, int(operator.outputs[0])
        low, high = (bound / rows for bound in values.ranges.bounds(out, "int8"))
        narrow = choose_qparams(low, high, "int8")
        product = values.graph.tensor(values.like(out, "int8", narrow), f"{out}/rows")
        options = copy.copy(operator.builtinOptions)
        values.graph.operator(_Op.FULLY_CONNECTED, inputs, [product], options, version=12)
        wide = values.graph.tensor(
            values.like(out, "int16", QuantParams(narrow.scale / 128)), f"{out}/wide"
        )
        values.graph.operator(_Op.QUANTIZE, [product], [wide], schema.QuantizeOptionsT(), version=2)
        sizes = schema.TensorT(shape=[rows.size], type=schema.TensorType.INT16, hasRank=True)
        step = float(rows.max()) / QMAX["int16"]
        sizes.quantization = QuantParams(step).quantization()
        codes = np.round(rows / step).astype(np.int16)
        factors = values.graph.constant(sizes, f"{out}/sizes", codes.tobytes())
        values.graph.operator(
            _Op.MUL, [wide, factors], [values.write(out, "int16")], schema.MulOptionsT(), version=4
        )

    def _overflows(self, out: int, steps: Array, kind: str) -> bool:
        if kind != "int16":
            return False
        low, high = self._values.ranges.bounds(out, kind, everywhere=True)
        return bool((np.maximum(-low, high) / steps).max() * _HEADROOM > 2**31)

    def _attend(self, operator: Any) -> None:
        self._copy(operator, self._scores)

    def _activate(self, operator: Any) -> None:
        self._copy(operator, self._values.kind(operator.inputs[0]))

    def _move(self, operator: Any) -> None:
        values = self._values
        moved = next(int(index) for index in operator.inputs if values.is_float(index))
        kind = values.kind(moved)
        if kind in QMAX:
            for out in operator.outputs:
                values.steps.setdefault((int(out), kind), values.steps_at(moved, kind))
        self._copy(operator, kind)

    def _combine(self, operator: Any) -> None:
        values, out, kind = self._values, int(operator.outputs[0]), self._recipe.between
        if values.rank(out) == 3:
            self._mask(operator)
        elif kind == "float32" or not self._vanishes(operator):
            self._copy(operator, kind)
        else:
            values.alias(out, operator.inputs[0], kind)

    def _vanishes(self, operator: Any) -> bool:
        """Whether an ADD's constant is an epsilon that no integer shows."""
        values, second = self._values, int(operator.inputs[-1])
        if values.code(operator) != _Op.ADD or not values.is_constant(second):
            return False
        step = float(values.steps_at(operator.outputs[0], self._recipe.between).scale)
        return bool(np.abs(values.data(second)).max() < step / 2)

    def _mask(self, operator: Any) -> None:
        if self._scores in QMAX:
            low, high = self._values.ranges.bounds(int(operator.inputs[0]), self._scores)
            steps = choose_qparams(low - MASK_MARGIN, high, self._scores)
            self._values.steps[int(operator.outputs[0]), self._scores] = steps
        self._copy(operator, self._scores)

    def _square(self, operator: Any) -> None:
        if self._recipe.between == "float32":
            self._copy(operator, "float32")
        # In integers the squares are never rounded: see `_average`.

    def _average(self, operator: Any) -> None:
        squares = self._values.maker(operator.inputs[0])
        squared = squares is not None and self._values.code(squares) == _Op.SQUARED_DIFFERENCE
        if squared and self._recipe.between != "float32":
            self._average_squares(operator, self._difference(squares))
        else:
            self._combine(operator)

    def _difference(self, squares: Any) -> int:
        """Find the difference that is squared, which a norm keeps."""
        pair = list(map(int, squares.inputs))
        for other in self._values.piece.graph.operators:
            if self._values.code(other) == _Op.SUB and list(map(int, other.inputs)) == pair:
                return int(other.outputs[0])
        raise ConversionError(
            f"piece {self._values.piece.name!r} squares a difference that it does not keep."
        )

    def _average_squares(self, operator: Any, difference: int) -> None:
        # x·x/C as a product, whose sum is kept in 64 bits: rounded to 16 bits one by one, the
        # squares of all but the largest channels would be a few steps, or none.
        values, graph, out = self._values, self._values.graph, int(operator.outputs[0])
        old = values.piece.graph.tensors[difference]
        tokens, channels = (int(size) for size in old.shape)
        like = values.like(difference, "int16", values.steps_at(difference, "int16"))
        row = graph.tensor(_with_shape(like, tokens, 1, channels), f"{out}/row")
        self._reshape(values.read(difference, "int16"), row, (-1, 1, channels))
        mean = float(values.steps_at(out, "int16").scale)
        like.quantization = QuantParams(mean * channels).quantization()
        product = graph.tensor(_with_shape(like, tokens, 1, 1), f"{out}/product")
        options = schema.BatchMatMulOptionsT(adjY=True)
        graph.operator(_Op.BATCH_MATMUL, [row, row], [product], options, version=3)
        total = graph.tensor(_with_shape(like, tokens, 1), f"{out}/sum")
        self._reshape(product, total, (-1, 1))
        like.quantization = QuantParams(1 / channels / QMAX["int16"]).quantization()
        share = graph.constant(
            _with_shape(like), f"{out}/share", np.array(QMAX["int16"], np.int16).tobytes()
        )
        mean_squares = values.write(out, "int16")
        graph.operator(_Op.MUL, [total, share], [mean_squares], schema.MulOptionsT(), version=4)

    def _reshape(self, given: int, result: int, shape: tuple[int, ...]) -> None:
        like = schema.TensorT(shape=[len(shape)], type=schema.TensorType.INT32, hasRank=True)
        name = "x".join(map(str, shape))
        sizes = self._values.graph.constant(like, name, np.array(shape, np.int32).tobytes())
        options = schema.ReshapeOptionsT(newShape=list(shape))
        self._values.graph.operator(_Op.RESHAPE, [given, sizes], [result], options)

    def _copy(self, operator: Any, kind: str) -> None:
        kinds = (kind if self._values.is_float(index) else "int32" for index in operator.inputs)
        inputs = [self._values.read(*pair) for pair in zip(operator.inputs, kinds, strict=True)]
        self._emit(operator, kind, inputs)

    def _emit(
        self,
        operator: Any,
        kind: str,
        inputs: list[int],
        options: Any = None,
        *,
        version: int = 0,
    ) -> None:
        values, code = self._values, self._values.code(operator)
        options = options or copy.copy(operator.builtinOptions)
        if hasattr(options, "potScaleInt16"):
            options.potScaleInt16 = kind != "int16"
        outputs = []
        for index in map(int, operator.outputs):
            if kind in _FIXED_QPARAMS.get(code, {}):
                values.steps[index, kind] = _FIXED_QPARAMS[code][kind]
            outputs.append(values.write(index, kind if values.is_float(index) else "int32"))
        version = version or max(values.version(operator), _VERSIONS.get(kind, {}).get(code, 1))
        values.graph.operator(code, inputs, outputs, options, version=version)

    # Weights.

    def _weight_kind(self, part: str, data: Array) -> str:
        if part == "head.predictions":  # the table itself
            part = "embed.word_embeddings"
        return self._recipe.stored(part, data.size)

    def _weight(self, index: int, kind: str, part: str | None, read: int = -1) -> int:
        """Add a constant that is multiplied with float values, or looked up."""
        values, data = self._values, self._values.data(index)
        if kind == "float16":
            half = values.constant(index, kind, data)
            full = values.graph.tensor(values.like(index, "float32", None), f"{index}/float32")
            options = schema.DequantizeOptionsT()
            values.graph.operator(_Op.DEQUANTIZE, [half], [full], options, version=3)
            return full
        if kind not in QMAX:
            return values.constant(index, kind, data)
        codes, scales = self._rounded(index, kind, part, read)
        if scales.ndim == 2:
            return values.blocks(index, codes, scales)
        steps = QuantParams(scales if scales.size > 1 else float(scales[0]))
        values.steps[int(index), kind] = steps
        return values.constant(index, kind, codes, steps)

    def _rounded(self, index: int, kind: str, part: str | None, read: int) -> tuple[Array, Array]:
        """Return a weight's codes, and their scales: [1], [rows] or [rows, blocks]."""
        data = self._values.data(index)
        table = part == "head.predictions" or (part or "").endswith("_embeddings")
        if kind == "int4":
            seen = self._values.ranges.seen.get(int(read))
            block = block_size(data.shape[1], wanted=TABLE_BLOCK if table else self._recipe.block)
            gram = None if seen is None or table else seen.gram
            clip = table or self._recipe.compensated
            rounding = quantize_weight(data, bits=4, block=block, hessian=gram, clip=clip)
        elif table:
            # One scale: a looked-up row has no other, and masked words are predicted with the
            # same table, which so is stored once.  Instead of 0.65% that costs an error of 1.1%
            # on 4,756 trained rows of an ALBERT, where the int8 passes before it have 7%.
            scale = np.float32((np.abs(data).max() or 1) / QMAX["int8"])
            return np.round(data / scale).astype(np.int8), scale[None]
        else:
            rounding = quantize_weight(data, bits=8)
        return rounding.codes, rounding.scales


_HANDLERS: dict[int, Callable[[_StageQuantizer, Any], None]] = {
    **dict.fromkeys(SHAPE_OPS, _StageQuantizer._move),
    **dict.fromkeys((_Op.ADD, _Op.SUB, _Op.MUL, _Op.RSQRT), _StageQuantizer._combine),
    _Op.MEAN: _StageQuantizer._average,
    **dict.fromkeys((_Op.GELU, _Op.TANH, _Op.RELU), _StageQuantizer._activate),
    **dict.fromkeys((_Op.BATCH_MATMUL, _Op.SOFTMAX), _StageQuantizer._attend),
    _Op.SQUARED_DIFFERENCE: _StageQuantizer._square,
    _Op.GATHER: _StageQuantizer._look_up,
    _Op.FULLY_CONNECTED: _StageQuantizer._multiply,
}


def _with_shape(like: Any, *shape: int) -> Any:
    tensor = copy.copy(like)
    tensor.shape = list(shape)
    # A dimension of any size, the tokens', comes first wherever there is one.
    free = like.shapeSignature is not None and like.shapeSignature[0] == -1
    tensor.shapeSignature = [-1, *shape[1:]] if free and shape else None
    return tensor
