"""Quantize a float32 stage model by a recipe.

Every operator is copied in the type that its part calls for, and wherever a tensor has another type
than an operator reads, a QUANTIZE or DEQUANTIZE is inserted.  So one stage can hold 8-bit products,
16-bit sums and float parts side by side, which no converter offers.

Integers follow TFLite's specification (https://ai.google.dev/edge/litert/models/quantization_spec):
int8 weights symmetric per output channel, int8 activations with a zero point, int16 activations
without.  Two things are ours:

- A product that only a 16-bit sum reads has a range of its own for every output channel.  Its
  weights' scales are divided by the channel's range, and a 16-bit MUL multiplies it back: the range
  of one channel of a trained ALBERT's feed-forward output is a hundred times that of most.
- 16-bit products have 32-bit biases and so 32-bit sums, for which LiteRT has a kernel 25 times as
  fast as the one for the 64-bit biases that the stock converter writes.
"""

from __future__ import annotations

import copy
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
from albert_edge.tflite.graph import OPERATOR_NAMES, StageModel, schema

_Op = schema.BuiltinOperator
# Padding scores this much less than any token: e^-11 is 1/60000; 8 bits of softmax end at 1/256.
MASK_MARGIN = 11.0
# Operators of the GPU graph, which computes in floats.
_FLOAT_OPS = (_Op.CONCATENATION, _Op.LOGISTIC, _Op.MAXIMUM, _Op.MINIMUM, _Op.SQUARE)
_HEADROOM = 8  # how much larger than in calibration a 32-bit sum may become
# Fixed by the kernels: operator → type → the quantization of its output.
_FIXED_QPARAMS = {
    _Op.SOFTMAX: {"int8": QuantParams(1 / 256, -128), "int16": QuantParams(1 / 32768)},
    _Op.TANH: {"int8": QuantParams(1 / 128), "int16": QuantParams(1 / 32768)},
}
# The least version of an operator that supports a type, where it is not the float one
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
    stage: StageModel,
    recipe: Recipe,
    ranges: CalibrationRanges | None = None,
    *,
    stored_tables: bool = False,
) -> StageModel:
    """Quantize a stage model.

    Args:
        stage: A float32 stage; its name (`embed`, `layer_0`, `head`) determines its parts.
        recipe: The precision of every part.
        ranges: The ranges of its tensors; for a recipe that is calibrated or uses Hessians.
        stored_tables: Whether float16 tables are read as they are stored.

    Raises:
        ConversionError: An operator has no kernel in the recipe's types.
    """
    ranges = ranges or CalibrationRanges(stats={})
    return _StageQuantizer(stage, recipe, ranges, stored_tables=stored_tables).run()


class _WeightQuantizer:
    """The weights of a stage: their types, codes and scales, and the constants that hold them."""

    def __init__(self, tensors: StageTensors, recipe: Recipe) -> None:
        self._tensors, self._recipe = tensors, recipe

    def dtype(self, part: str, index: int) -> str:
        """Return the type that a weight is stored in."""
        if part == "head.predictions":  # the table itself
            part = "embed.word_embeddings"
        return self._recipe.weight_dtype(part, self._tensors.data(index).size)

    def add(self, index: int, dtype: str, part: str | None, read: int = -1) -> int:
        """Add the constant of a weight that is multiplied with float values, or looked up."""
        tensors = self._tensors
        if dtype == "float16":
            half = tensors.add_constant(index, dtype, tensors.data(index))
            like = tensors.clone(index, "float32", None)
            full = tensors.graph.tensor(like, f"{index}/float32")
            options = schema.DequantizeOptionsT()
            tensors.graph.operator(_Op.DEQUANTIZE, [half], [full], options, version=3)
            return full
        if dtype not in QMAX:
            return tensors.add_constant(index, dtype, tensors.data(index))
        codes, scales = self.quantize(index, dtype, part, read)
        if scales.ndim == 2:
            return tensors.add_blockwise_constant(index, codes, scales)
        qparams = QuantParams(scales if scales.size > 1 else float(scales[0]))
        tensors.qparams[int(index), dtype] = qparams
        return tensors.add_constant(index, dtype, codes, qparams)

    def quantize(self, index: int, dtype: str, part: str | None, read: int) -> tuple[Array, Array]:
        """Return a weight's codes, and their scales: [1], [rows] or [rows, blocks].

        Args:
            index: The weight.
            dtype: `int8` or `int4`.
            part: Its part of `PARTS`; None for one without a name.
            read: The other input of the product, whose statistics guide int4 rounding.
        """
        data = self._tensors.data(index)
        is_table = part == "head.predictions" or (part or "").endswith("_embeddings")
        if dtype == "int4":
            stats = self._tensors.ranges.stats.get(int(read))
            wanted = TABLE_BLOCK if is_table else self._recipe.block
            quantized = quantize_weight(
                data,
                bits=4,
                block=block_size(data.shape[1], wanted=wanted),
                hessian=None if stats is None or is_table else stats.hessian,
                clip=is_table or self._recipe.compensated,
            )
        elif is_table:
            # One scale: a looked-up row has no other, and masked words are predicted with the
            # same table, which so is stored once.  Instead of 0.65% that costs an error of 1.1%
            # on 4,756 trained rows of an ALBERT, where the int8 passes before it have 7%.
            scale = np.float32((np.abs(data).max() or 1) / QMAX["int8"])
            return np.round(data / scale).astype(np.int8), scale[None]
        else:
            quantized = quantize_weight(data, bits=8)
        return quantized.codes, quantized.scales


class _StageQuantizer:
    def __init__(
        self,
        stage: StageModel,
        recipe: Recipe,
        ranges: CalibrationRanges,
        *,
        stored_tables: bool = False,
    ) -> None:
        self._recipe, self._stored_tables = recipe, stored_tables
        self._residuals = recipe.residual_dtype
        self._scores = recipe.precision_of("layer.attention_scores").arithmetic
        self._tensors = StageTensors(stage, ranges)
        self._weights = _WeightQuantizer(self._tensors, recipe)

    def run(self) -> StageModel:
        tensors, stage = self._tensors, self._tensors.stage
        for direction, boundary in (("in", stage.inputs), ("out", stage.outputs)):
            for name, index in boundary.items():
                dtype = self._boundary_dtype(name)
                if dtype in QMAX:
                    largest = tensors.ranges.boundary_ranges[f"{name} {direction}"]
                    tensors.qparams[index, dtype] = QuantParams(largest / QMAX[dtype])
        for name, index in stage.inputs.items():
            tensors.add_input(name, index, self._boundary_dtype(name))
        for operator in stage.graph.operators:
            if any(tensors.is_float(i) for i in (*operator.inputs, *operator.outputs)):
                self._quantize(operator)
            else:
                self._copy(operator, "int32")
        return tensors.build(
            {
                name: tensors.cast(index, self._boundary_dtype(name))
                for name, index in stage.outputs.items()
            }
        )

    def _boundary_dtype(self, name: str) -> str:
        """Return the type of a stage's input or output."""
        dtypes = {"hidden_states": self._residuals, "attention_bias": self._scores}
        return dtypes.get(name, "int32" if name in self._tensors.stage.inputs else "float32")

    def _quantize(self, operator: Any) -> None:
        code = self._tensors.code(operator)
        if code in SHAPE_OPS:
            self._reshape_like(operator)
            return
        match code:
            case _Op.FULLY_CONNECTED:
                self._fully_connected(operator)
            case _ if code in _FLOAT_OPS and self._residuals == "float32":
                self._copy(operator, "float32")
            case _Op.BATCH_MATMUL | _Op.SOFTMAX:
                self._copy(operator, self._scores)
            case _Op.GELU | _Op.TANH | _Op.RELU:
                self._copy(operator, self._tensors.dtype_of(operator.inputs[0]))
            case _Op.ADD | _Op.SUB | _Op.MUL | _Op.RSQRT:
                self._elementwise(operator)
            case _Op.MEAN:
                self._mean(operator)
            case _Op.SQUARED_DIFFERENCE:
                if self._residuals == "float32":  # in integers part of the mean, see `_mean`
                    self._copy(operator, "float32")
            case _Op.GATHER:
                self._gather(operator)
            case _:
                raise ConversionError(
                    f"stage model {self._tensors.stage.name!r} holds "
                    f"{OPERATOR_NAMES.get(code, code)}, which no recipe supports."
                )

    # Embedding tables.

    def _gather(self, operator: Any) -> None:
        tensors, (table, rows), out = self._tensors, operator.inputs, int(operator.outputs[0])
        part = tensors.part(operator)
        if part is None:
            read, dtype = self._mask_table(table), self._scores
        else:
            dtype = self._weights.dtype(part, table)
            if dtype == "float16" and self._stored_tables:
                self._gather_float16(operator)
                return
            read = self._weights.add(table, dtype, part)
            if dtype == "int4":  # the one operator that supports a scale for every row or block
                result = tensors.add_result(out, "float32")
                inputs = [tensors.cast(rows, "int32"), read]
                tensors.graph.operator(_Op.EMBEDDING_LOOKUP, inputs, [result], version=4)
                return
            if dtype == "int8":
                tensors.qparams[out, dtype] = tensors.qparams[int(table), dtype]
            else:
                dtype = "float32"
        self._emit(operator, dtype, [read, tensors.cast(rows, "int32")])

    def _gather_float16(self, operator: Any) -> None:
        tensors, (table, rows), out = self._tensors, operator.inputs, int(operator.outputs[0])
        stored = tensors.add_constant(table, "float16", tensors.data(table))
        read = tensors.graph.tensor(tensors.clone(out, "float16", None), f"{out}/float16")
        options = copy.copy(operator.builtinOptions)
        inputs = [stored, tensors.cast(rows, "int32")]
        tensors.graph.operator(_Op.GATHER, inputs, [read], options)
        result = tensors.add_result(out, "float32")
        types = schema.CastOptionsT()
        types.inDataType, types.outDataType = schema.TensorType.FLOAT16, schema.TensorType.FLOAT32
        tensors.graph.operator(_Op.CAST, [read], [result], types)

    def _mask_table(self, table: int) -> int:
        """Add the table of attention biases: in integers -10000 would take up all the range."""
        tensors, data = self._tensors, self._tensors.data(table)
        if self._scores in QMAX:
            data = np.where(data < 0, -tensors.ranges.boundary_ranges["attention_bias out"], 0)
        return tensors.add_constant(table, self._scores, data)

    # Matrix products.

    def _fully_connected(self, operator: Any) -> None:
        part = self._tensors.part(operator)
        precision = self._recipe.precision_of(part) if part else Precision("float32", "float32")
        if precision.arithmetic == "float32":
            self._float_product(operator, part)
        else:
            self._integer_product(operator, part, precision.arithmetic)

    def _float_product(self, operator: Any, part: str | None) -> None:
        tensors, (read, weight, *bias) = self._tensors, operator.inputs
        dtype = self._weights.dtype(part, weight) if part else "float32"
        inputs = [self._rows(read), self._weights.add(weight, dtype, part, int(read))]
        inputs += [tensors.cast(index, "float32") for index in bias]
        options = copy.copy(operator.builtinOptions)
        options.asymmetricQuantizeInputs = dtype in QMAX
        self._emit(operator, "float32", inputs, options, version=12 if dtype in QMAX else 1)

    def _rows(self, index: int) -> int:
        """Return float rows [T, C]: the converter drops a RESHAPE before a product."""
        tensors, given = self._tensors, self._tensors.cast(index, "float32")
        if tensors.rank(index) == 2:
            return given
        like = tensors.clone(index, "float32", None)
        like.shape, like.shapeSignature = [1, like.shape[-1]], None
        rows = tensors.graph.tensor(like, f"{index}/rows")
        self._reshape(given, rows, tuple(int(size) for size in like.shape))
        return rows

    def _integer_product(self, operator: Any, part: str | None, dtype: str) -> None:
        tensors, (read, weight, *bias) = self._tensors, operator.inputs
        out = int(operator.outputs[0])
        by_row = self._recipe.by_row and dtype == "int8" and self._ends_in_sum(out)
        rows = self._channel_ranges(out) if by_row else np.float32(1)
        codes, scales = self._weights.quantize(weight, "int8", part, int(read))
        inputs = [
            tensors.cast(read, dtype),
            tensors.add_constant(weight, "int8", codes, QuantParams(scales / rows)),
        ]
        sum_scales = np.float32(tensors.qparams_of(read, dtype).scale) * scales / rows
        if bias and bias[0] >= 0:
            wide = "int64" if self._overflows(out, sum_scales * rows, dtype) else "int32"
            whole = np.round(tensors.data(bias[0]) / rows / sum_scales.astype(np.float64))
            inputs.append(tensors.add_constant(bias[0], wide, whole, QuantParams(sum_scales)))
        if by_row:
            self._emit_by_row(operator, inputs, rows)
        else:
            self._emit(operator, dtype, inputs, version=12)

    def _ends_in_sum(self, out: int) -> bool:
        consumers = self._tensors.consumers(out)  # none where it leaves the stage
        return all(self._tensors.code(operator) == _Op.ADD for operator in consumers)

    def _channel_ranges(self, out: int) -> Array:
        """Return each channel's largest absolute value in all passes, as int16 codes times scale.

        Returns:
            float32 [C], above 0.
        """
        low, high = self._tensors.ranges.min_max(out, "int8", all_layers=True)
        ranges = np.maximum(-low, high)
        scale = (float(ranges.max()) or 1.0) / QMAX["int16"]
        rows: Array = np.maximum(np.round(ranges / scale), 1).astype(np.float32) * np.float32(scale)
        return rows

    def _emit_by_row(self, operator: Any, inputs: list[int], rows: Array) -> None:
        """Add an int8 product of channels divided by their ranges, and a MUL by the ranges."""
        tensors, graph, out = self._tensors, self._tensors.graph, int(operator.outputs[0])
        low, high = (bound / rows for bound in tensors.ranges.min_max(out, "int8"))
        narrow = choose_qparams(low, high, "int8")
        product = graph.tensor(tensors.clone(out, "int8", narrow), f"{out}/rows")
        options = copy.copy(operator.builtinOptions)
        graph.operator(_Op.FULLY_CONNECTED, inputs, [product], options, version=12)
        wide = graph.tensor(
            tensors.clone(out, "int16", QuantParams(narrow.scale / 128)), f"{out}/wide"
        )
        graph.operator(_Op.QUANTIZE, [product], [wide], schema.QuantizeOptionsT(), version=2)
        like = schema.TensorT(shape=[rows.size], type=schema.TensorType.INT16, hasRank=True)
        scale = float(rows.max()) / QMAX["int16"]
        like.quantization = QuantParams(scale).quantization()
        codes = np.round(rows / scale).astype(np.int16)
        factors = graph.constant(like, f"{out}/sizes", codes.tobytes())
        result = tensors.add_result(out, "int16")
        graph.operator(_Op.MUL, [wide, factors], [result], schema.MulOptionsT(), version=4)

    def _overflows(self, out: int, scales: Array, dtype: str) -> bool:
        """Return whether the sums of 16-bit products might not fit into 32 bits."""
        if dtype != "int16":
            return False
        low, high = self._tensors.ranges.min_max(out, dtype, all_layers=True)
        return bool((np.maximum(-low, high) / scales).max() * _HEADROOM > 2**31)

    # Residuals, normalization and attention scores.

    def _reshape_like(self, operator: Any) -> None:
        """Copy an operator that moves values, with the quantization of its input."""
        tensors = self._tensors
        moved = next(int(index) for index in operator.inputs if tensors.is_float(index))
        dtype = tensors.dtype_of(moved)
        if dtype in QMAX:
            for out in operator.outputs:
                tensors.qparams.setdefault((int(out), dtype), tensors.qparams_of(moved, dtype))
        self._copy(operator, dtype)

    def _elementwise(self, operator: Any) -> None:
        tensors, out, dtype = self._tensors, int(operator.outputs[0]), self._residuals
        if tensors.rank(out) == 3:
            self._add_mask(operator)
        elif dtype == "float32" or not self._adds_less_than_a_step(operator):
            self._copy(operator, dtype)
        else:
            tensors.alias(out, operator.inputs[0], dtype)

    def _adds_less_than_a_step(self, operator: Any) -> bool:
        """Return whether an ADD's constant is an epsilon below half the scale of the result."""
        tensors, second = self._tensors, int(operator.inputs[-1])
        if tensors.code(operator) != _Op.ADD or not tensors.is_constant(second):
            return False
        scale = float(tensors.qparams_of(operator.outputs[0], self._residuals).scale)
        return bool(np.abs(tensors.data(second)).max() < scale / 2)

    def _add_mask(self, operator: Any) -> None:
        """Copy the ADD of attention scores and bias, with room for masked scores."""
        if self._scores in QMAX:
            low, high = self._tensors.ranges.min_max(int(operator.inputs[0]), self._scores)
            qparams = choose_qparams(low - MASK_MARGIN, high, self._scores)
            self._tensors.qparams[int(operator.outputs[0]), self._scores] = qparams
        self._copy(operator, self._scores)

    def _mean(self, operator: Any) -> None:
        squares = self._tensors.producer(operator.inputs[0])
        squared = squares is not None and self._tensors.code(squares) == _Op.SQUARED_DIFFERENCE
        if squared and self._residuals != "float32":
            self._mean_of_squares(operator, self._difference(squares))
        else:
            self._elementwise(operator)

    def _difference(self, squares: Any) -> int:
        """Return the SUB of the same two tensors as a SQUARED_DIFFERENCE; a norm needs both."""
        pair = list(map(int, squares.inputs))
        for other in self._tensors.stage.graph.operators:
            if self._tensors.code(other) == _Op.SUB and list(map(int, other.inputs)) == pair:
                return int(other.outputs[0])
        raise ConversionError(
            f"stage model {self._tensors.stage.name!r} holds a SQUARED_DIFFERENCE without a SUB of "
            "the same tensors, which no integer recipe supports."
        )

    def _mean_of_squares(self, operator: Any, difference: int) -> None:
        # x·x/C as a product, whose sum is kept in 64 bits: rounded to 16 bits one by one, the
        # squares of all but the largest channels would be a few codes, or 0.
        tensors, graph, out = self._tensors, self._tensors.graph, int(operator.outputs[0])
        tokens, channels = (int(n) for n in tensors.stage.graph.tensors[difference].shape)
        like = tensors.clone(difference, "int16", tensors.qparams_of(difference, "int16"))
        row = graph.tensor(_with_shape(like, tokens, 1, channels), f"{out}/row")
        self._reshape(tensors.cast(difference, "int16"), row, (-1, 1, channels))
        mean_scale = float(tensors.qparams_of(out, "int16").scale)
        like.quantization = QuantParams(mean_scale * channels).quantization()
        product = graph.tensor(_with_shape(like, tokens, 1, 1), f"{out}/product")
        options = schema.BatchMatMulOptionsT(adjY=True)
        graph.operator(_Op.BATCH_MATMUL, [row, row], [product], options, version=3)
        total = graph.tensor(_with_shape(like, tokens, 1), f"{out}/sum")
        self._reshape(product, total, (-1, 1))
        like.quantization = QuantParams(1 / channels / QMAX["int16"]).quantization()
        one_over_channels = graph.constant(
            _with_shape(like), f"{out}/share", np.array(QMAX["int16"], np.int16).tobytes()
        )
        inputs, result = [total, one_over_channels], tensors.add_result(out, "int16")
        graph.operator(_Op.MUL, inputs, [result], schema.MulOptionsT(), version=4)

    def _reshape(self, given: int, result: int, shape: tuple[int, ...]) -> None:
        like = schema.TensorT(shape=[len(shape)], type=schema.TensorType.INT32, hasRank=True)
        name = "x".join(map(str, shape))
        sizes = self._tensors.graph.constant(like, name, np.array(shape, np.int32).tobytes())
        options = schema.ReshapeOptionsT(newShape=list(shape))
        self._tensors.graph.operator(_Op.RESHAPE, [given, sizes], [result], options)

    def _copy(self, operator: Any, dtype: str) -> None:
        """Copy an operator with its float inputs and outputs in another type."""
        inputs = [
            self._tensors.cast(index, dtype if self._tensors.is_float(index) else "int32")
            for index in operator.inputs
        ]
        self._emit(operator, dtype, inputs)

    def _emit(
        self,
        operator: Any,
        dtype: str,
        inputs: list[int],
        options: Any = None,
        *,
        version: int = 0,
    ) -> None:
        tensors, code = self._tensors, self._tensors.code(operator)
        options = options or copy.copy(operator.builtinOptions)
        if hasattr(options, "potScaleInt16"):
            options.potScaleInt16 = dtype != "int16"
        outputs = []
        for index in map(int, operator.outputs):
            if dtype in _FIXED_QPARAMS.get(code, {}):
                tensors.qparams[index, dtype] = _FIXED_QPARAMS[code][dtype]
            outputs.append(tensors.add_result(index, dtype if tensors.is_float(index) else "int32"))
        version = version or max(tensors.version(operator), _VERSIONS.get(dtype, {}).get(code, 1))
        tensors.graph.operator(code, inputs, outputs, options, version=version)


def _with_shape(like: Any, *shape: int) -> Any:
    tensor = copy.copy(like)
    tensor.shape = list(shape)
    # A dimension of any size, the number of tokens, is always the first.
    free = like.shapeSignature is not None and like.shapeSignature[0] == -1
    tensor.shapeSignature = [-1, *shape[1:]] if free and shape else None
    return tensor
