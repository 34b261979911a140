"""Small graphs, each with one thing that a GPU runtime computes wrong, refuses or leaves out.

`GRAPHS` has one for every rule of `tflite.gpu_rules`, by its name; `RIGHT` is right everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from albert_edge.tflite.graph import ModelBuilder, schema

__all__ = ["GRAPHS", "RIGHT", "Sketch", "make_inputs"]

_Op, _Type = schema.BuiltinOperator, schema.TensorType
_KINDS = {"float32": _Type.FLOAT32, "float16": _Type.FLOAT16, "int32": _Type.INT32} | {
    "int8": _Type.INT8,
    "int16": _Type.INT16,
    "int64": _Type.INT64,
    "bool": _Type.BOOL,
}
_SCALES = {"int8": 0.01, "int16": 0.001}
T, E, N = 8, 16, 2  # tokens, channels, heads


class Sketch:
    """A graph in a few lines: every operator gives the tensor that it computes."""

    def __init__(self, seed: int = 0) -> None:
        self.builder = ModelBuilder()
        self.graph = self.builder.graph("main")
        self._random = np.random.default_rng(seed)
        self._count = 0

    def input(self, *shape: int, kind: str = "float32", lengths: Sequence[int] = ()) -> int:
        like = _like(shape, kind, lengths=lengths)
        return self.graph.input(f"x{len(self.graph.inputs)}", like)

    def constant(self, values: Any, kind: str = "") -> int:
        array = np.asarray(values)
        kind = kind or array.dtype.name
        like = _like(array.shape, kind, scale=_SCALES.get(kind))
        self._count += 1
        return self.graph.constant(like, f"constant{self._count}", array.tobytes())

    def weights(self, *shape: int, kind: str = "float32") -> int:
        if kind == "int8":
            return self.constant(self._random.integers(-99, 99, shape).astype(np.int8))
        return self.constant(self._random.normal(size=shape).astype(kind))

    def ints(self, *values: int) -> int:
        return self.constant(np.array(values, np.int32))

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: Any = None,
        *,
        kind: str = "float32",
        version: int = 1,
        lengths: Sequence[int] = (),
    ) -> int:
        how = {"kind": kind, "version": version, "lengths": lengths}
        (result,) = self.ops(name, inputs, [shape], options, **how)
        return result

    def ops(
        self,
        name: str,
        inputs: Sequence[int],
        shapes: Sequence[Sequence[int]],
        options: Any = None,
        *,
        kind: str = "float32",
        version: int = 1,
        lengths: Sequence[int] = (),
    ) -> list[int]:
        results = []
        for shape in shapes:
            self._count += 1
            like = _like(shape, kind, scale=_SCALES.get(kind), lengths=lengths)
            results.append(self.graph.tensor(like, f"{name.lower()}{self._count}"))
        builtin = getattr(_Op, name)
        self.graph.operator(builtin, inputs, results, options, version=version)
        return results

    def model(self, *outputs: int) -> Any:
        named = {f"y{number}": index for number, index in enumerate(outputs)}
        self.builder.sign("serving_default", self.graph, named)
        return self.builder.build()

    # The operators that most graphs need.

    def dense(self, value: int, rows: int, columns: int, *, lead: Sequence[int] = ()) -> int:
        """Multiply [rows, E] by a weight [columns, E]."""
        shape = (*lead, rows, columns)
        options = schema.FullyConnectedOptionsT(keepNumDims=bool(lead))
        weight, bias = self.weights(columns, E), self.weights(columns)
        return self.op("FULLY_CONNECTED", [value, weight, bias], shape, options)

    def add(self, a: int, b: int, shape: Sequence[int]) -> int:
        return self.op("ADD", [a, b], shape, schema.AddOptionsT())

    def mul(self, a: int, b: int, shape: Sequence[int]) -> int:
        return self.op("MUL", [a, b], shape, schema.MulOptionsT())

    def reshape(self, value: int, *shape: int, kind: str = "float32") -> int:
        options = schema.ReshapeOptionsT(newShape=list(shape))
        return self.op("RESHAPE", [value, self.ints(*shape)], shape, options, kind=kind)

    def product(self, a: int, b: int, shape: Sequence[int], **options: bool) -> int:
        return self.op("BATCH_MATMUL", [a, b], shape, schema.BatchMatMulOptionsT(**options))

    def mean(self, value: int, shape: Sequence[int]) -> int:
        axis = self.ints(len(shape) - 1)
        return self.op("MEAN", [value, axis], shape, schema.ReducerOptionsT(keepDims=True))

    def gather(self, table: int, ids: int, shape: Sequence[int], kind: str = "float32") -> int:
        return self.op("GATHER", [table, ids], shape, schema.GatherOptionsT(), kind=kind)


def _like(
    shape: Sequence[int], kind: str, *, scale: float | None = None, lengths: Sequence[int] = ()
) -> Any:
    tensor = schema.TensorT(shape=list(shape), type=_KINDS[kind], hasRank=True)
    tensor.shapeSignature = list(lengths) or None
    if scale is not None:
        tensor.quantization = schema.QuantizationParametersT(scale=[scale], zeroPoint=[0])
    return tensor


def make_inputs(model: Any, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random floats and small ids for the inputs of a graph, by name."""
    random, graph = np.random.default_rng(seed), model.subgraphs[0]
    found = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        kind = next(name for name, number in _KINDS.items() if number == tensor.type)
        shape = [T if size < 0 else size for size in tensor.shapeSignature or tensor.shape]
        if kind == "float32":
            values = random.normal(size=shape).astype(np.float32)
        else:
            values = random.integers(0, T, shape).astype(kind)
        found[tensor.name.decode()] = values
    return found


def _right() -> Any:
    # A lookup, a product, attention in rank 4, and a norm of scaled-down values.
    s = Sketch()
    rows = s.gather(s.weights(T, E), s.input(1, T, kind="int32"), [1, T, E])
    hidden = s.dense(s.reshape(rows, T, E), T, E)
    heads = s.reshape(hidden, 1, T, N, E // N)
    permute = schema.TransposeOptionsT()
    query = s.op("TRANSPOSE", [heads, s.ints(0, 2, 1, 3)], [1, N, T, E // N], permute)
    key = s.op("TRANSPOSE", [heads, s.ints(0, 2, 3, 1)], [1, N, E // N, T], permute)
    scores = s.product(query, key, [1, N, T, T])
    scores = s.op("SOFTMAX", [scores], [1, N, T, T], schema.SoftmaxOptionsT(beta=1.0))
    context = s.product(scores, query, [1, N, T, E // N])
    small = s.mul(context, s.constant(np.float32(1 / 16)), [1, N, T, E // N])
    squares = s.op("SQUARE", [small], [1, N, T, E // N])
    return s.model(s.mean(squares, [1, N, T, 1]))


def _transposed_product() -> Any:
    s = Sketch()
    a, b = s.input(1, N, T, E), s.input(1, N, T, E)
    return s.model(s.product(a, b, [1, N, T, T], adjY=True))


def _product_of_matrices() -> Any:
    s = Sketch()
    a, b = s.op("TANH", [s.input(T, E)], [T, E]), s.op("TANH", [s.input(E, T)], [E, T])
    return s.model(s.product(a, b, [T, T]))


def _product_of_constant() -> Any:
    s = Sketch()
    value = s.dense(s.input(T, E), T, E)
    batched = s.reshape(value, 1, T, E)
    return s.model(s.product(batched, s.weights(1, E, T), [1, T, T]))


def _rows_of_constant() -> Any:
    s = Sketch()
    value = s.dense(s.input(T, E), T, E)
    return s.model(s.add(value, s.weights(T, E), [T, E]))


def _batches_of_constant() -> Any:
    s = Sketch()
    return s.model(s.add(s.input(2, 1, T, E), s.weights(2, 1, 1, E), [2, 1, T, E]))


def _mixed_ranks() -> Any:
    s = Sketch()
    scores, mask = s.input(N, T, T), s.input(T, T)
    return s.model(s.add(s.op("TANH", [scores], [N, T, T]), mask, [N, T, T]))


def _outer_product() -> Any:
    s = Sketch()
    return s.model(s.mul(s.input(1, 1, T, 1), s.input(1, 1, 1, E), [1, 1, T, E]))


def _mask_on_product() -> Any:
    s = Sketch()
    a, b, mask = s.input(1, N, T, E), s.input(1, N, E, T), s.input(1, 1, 1, T)
    scores = s.add(s.product(a, b, [1, N, T, T]), mask, [1, N, T, T])
    return s.model(s.op("SOFTMAX", [scores], [1, N, T, T], schema.SoftmaxOptionsT(beta=1.0)))


def _heads_as_batch() -> Any:
    s = Sketch()
    return s.model(s.product(s.input(N, T, E), s.input(N, E, T), [N, T, T]))


def _same_tensor_twice() -> Any:
    s = Sketch()
    value = s.op("TANH", [s.input(1, N, T, T)], [1, N, T, T])
    return s.model(s.product(value, value, [1, N, T, T]))


def _output_also_read() -> Any:
    s = Sketch()
    total = s.add(s.input(1, 1, T, E), s.input(1, 1, T, E), [1, 1, T, E])
    return s.model(total, s.op("TANH", [total], [1, 1, T, E]))


def _unscaled_squares() -> Any:
    s = Sketch()
    squares = s.op("SQUARE", [s.input(1, 1, T, E)], [1, 1, T, E])
    return s.model(s.mean(squares, [1, 1, T, 1]))


def _tanh_gelu() -> Any:
    s = Sketch()
    value = s.op("TANH", [s.input(1, 1, T, E)], [1, 1, T, E])
    options = schema.GeluOptionsT(approximate=True)
    return s.model(s.op("GELU", [value], [1, 1, T, E], options))


def _reordered_parts() -> Any:
    s = Sketch()
    value = s.op("TANH", [s.input(1, 1, T, E)], [1, 1, T, E])
    options = schema.SplitOptionsT(numSplits=2)
    first, second = s.ops("SPLIT", [s.ints(3), value], [[1, 1, T, E // 2]] * 2, options)
    joined = s.op(
        "CONCATENATION", [second, first], [1, 1, T, E], schema.ConcatenationOptionsT(axis=3)
    )
    return s.model(s.op("TANH", [joined], [1, 1, T, E]))


def _pad_of_rank_3() -> Any:
    s = Sketch()
    value = s.op("TANH", [s.input(N, T, E)], [N, T, E])
    amounts = s.constant(np.array([[0, 0], [0, 4], [0, 0]], np.int32))
    return s.model(s.op("PAD", [value, amounts], [N, T + 4, E], schema.PadOptionsT()))


def _lookup_by_list() -> Any:
    s = Sketch()
    rows = s.gather(s.weights(T, E), s.input(T, kind="int32"), [T, E])
    return s.model(s.dense(rows, T, E))


def _float16_lookup() -> Any:
    s = Sketch()
    table, ids = s.weights(T, E, kind="float16"), s.input(1, T, kind="int32")
    rows = s.op("CAST", [s.gather(table, ids, [1, T, E], "float16")], [1, T, E])
    return s.model(s.dense(s.reshape(rows, T, E), T, E))


def _unpacked_table() -> Any:
    s = Sketch()
    table = s.op("DEQUANTIZE", [s.weights(T, E, kind="float16")], [T, E])
    rows = s.gather(table, s.input(1, T, kind="int32"), [1, T, E])
    return s.model(s.dense(s.reshape(rows, T, E), T, E))


def _unpacked_int8_weight() -> Any:
    s = Sketch()
    value = s.input(T, E)
    weight = s.op("DEQUANTIZE", [s.weights(E, E, kind="int8")], [E, E])
    options = schema.FullyConnectedOptionsT()
    return s.model(s.op("FULLY_CONNECTED", [value, weight, s.weights(E)], [T, E], options))


def _sum_of_int8_product() -> Any:
    s = Sketch()
    value, weight = s.input(1, T, E), s.weights(E, E, kind="int8")
    options = schema.FullyConnectedOptionsT(keepNumDims=True)
    inputs = [value, weight, s.weights(E)]
    product = s.op("FULLY_CONNECTED", inputs, [1, T, E], options, version=5)
    return s.model(s.add(product, value, [1, T, E]))


def _control_flow() -> Any:
    s = Sketch()
    like = _like([T, E], "float32")
    condition, body = s.builder.graph("condition"), s.builder.graph("body")
    condition.input("x0", like)
    condition.outputs = [condition.constant(_like([], "bool"), "no", b"\0")]
    result = body.tensor(like, "y")
    body.operator(_Op.TANH, [body.input("x0", like)], [result])
    body.outputs = [result]
    options = schema.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=2)
    return s.model(s.op("WHILE", [s.dense(s.input(T, E), T, E)], [T, E], options))


def _computed_shape() -> Any:
    s = Sketch()
    value = s.op("TANH", [s.input(T, E)], [T, E])
    shape = s.op("SHAPE", [value], [2], schema.ShapeOptionsT(outType=_Type.INT32), kind="int32")
    return s.model(s.op("RESHAPE", [value, shape], [T, E], schema.ReshapeOptionsT()))


def _any_length() -> Any:
    # The first T of E + T rows of a table, as the position embeddings of T tokens.
    s = Sketch()
    options = schema.StridedSliceOptionsT()
    ids = s.input(1, 1, kind="int32", lengths=(1, -1))
    shape = s.op("SHAPE", [ids], [2], schema.ShapeOptionsT(outType=_Type.INT32), kind="int32")
    ends = [s.ints(1), s.ints(2), s.ints(1)]
    length = s.op("STRIDED_SLICE", [shape, *ends], [1], options, kind="int32")
    ends = [s.ints(0), length, s.ints(1)]
    places = s.ints(*range(E + T))
    rows = s.op("STRIDED_SLICE", [places, *ends], [1], options, kind="int32", lengths=[-1])
    return s.model(s.op("GATHER", [s.weights(E + T, E), rows], [1, E], lengths=[-1, E]))


def _integer_arithmetic() -> Any:
    s = Sketch()
    value = s.op("QUANTIZE", [s.input(1, 1, T, E)], [1, 1, T, E], kind="int16", version=3)
    value = s.op("RELU", [value], [1, 1, T, E], kind="int16", version=3)
    return s.model(s.op("DEQUANTIZE", [value], [1, 1, T, E], version=3))


def _arithmetic_on_ids() -> Any:
    s = Sketch()
    ids = s.reshape(s.input(1, T, kind="int32"), T, 1, kind="int32")
    rows = s.gather(s.weights(T, E), ids, [T, 1, E])
    return s.model(s.dense(s.reshape(rows, T, E), T, E))


def _rank_above_4() -> Any:
    s = Sketch()
    value = s.reshape(s.input(1, 1, T, E), 1, 1, 1, T, E)
    return s.model(s.reshape(s.op("TANH", [value], [1, 1, 1, T, E]), 1, 1, T, E))


def _slice_of_low_rank() -> Any:
    s = Sketch()
    value = s.dense(s.input(T, E), T, E)
    begin, size = s.ints(0, 0), s.ints(1, E)
    first = s.op("SLICE", [value, begin, size], [1, E], schema.SliceOptionsT())
    return s.model(s.dense(first, 1, E))


def _masked_slice() -> Any:
    s = Sketch()
    value = s.op("TANH", [s.input(1, T, E)], [1, T, E])
    ends = s.ints(0, 0, 0), s.ints(1, 1, E), s.ints(1, 1, 1)
    options = schema.StridedSliceOptionsT(shrinkAxisMask=2)
    first = s.op("STRIDED_SLICE", [value, *ends], [1, E], options)
    return s.model(s.dense(first, 1, E))


def _gather_of_rank_2() -> Any:
    s = Sketch()
    table, ids = s.dense(s.input(T, E), T, E), s.input(1, T, kind="int32")
    return s.model(s.op("TANH", [s.gather(table, ids, [1, T, E])], [1, T, E]))


def _cast() -> Any:
    s = Sketch()
    half = s.op("CAST", [s.dense(s.input(T, E), T, E)], [T, E], kind="float16")
    return s.model(s.op("CAST", [half], [T, E]))


def _softmax_beta() -> Any:
    s = Sketch()
    options = schema.SoftmaxOptionsT(beta=0.5)
    return s.model(s.op("SOFTMAX", [s.input(1, 1, T, E)], [1, 1, T, E], options))


def _unknown_to_delegate() -> Any:
    s = Sketch()
    value = s.op("TANH", [s.input(1, 1, T, E)], [1, 1, T, E])
    return s.model(s.op("ROUND", [value], [1, 1, T, E]))


def _unknown_to_compiled_model() -> Any:
    s = Sketch()
    value = s.op("TANH", [s.input(1, 1, T, 1)], [1, 1, T, 1])
    shape = s.ints(1, 1, T, E)
    wide = s.op("BROADCAST_TO", [value, shape], [1, 1, T, E], version=2)
    return s.model(s.op("TANH", [wide], [1, 1, T, E]))


def _lookup() -> Any:
    s = Sketch()
    rows = s.gather(s.weights(T, E), s.input(1, T, kind="int32"), [1, T, E])
    return s.model(s.dense(s.reshape(rows, T, E), T, E))


RIGHT: Callable[[], Any] = _right
GRAPHS: dict[str, Callable[[], Any]] = {
    name.removeprefix("_").replace("_", "-"): make
    for name, make in list(globals().items())
    if name.startswith("_") and callable(make) and name not in ("_right", "_like", "_Op", "_Type")
}
