"""Find in a TFLite graph what GPU runtimes compute wrong, refuse, or leave to the CPU.

There are two: the classic delegate (`GpuDelegate`, in most Android apps) and CompiledModel.  Both
accept graphs that they compute wrong, without an error.  `gpu_rules.json` lists what is known, as
rules: the runtimes, the effect, the reason, what to do, and what the rule rests on: our own
measurement, public reports, or the runtime's source code; and the operators that each runtime
supports, by the newest version.  A function here finds the operators that a rule is about.  The
absence of findings is no proof; `runtime.bisect` compares values.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from albert_edge.errors import UnsupportedOpError
from albert_edge.tflite.graph import (
    OPERATOR_NAMES,
    builtin_code,
    tensor_bytes,
    type_name,
)

__all__ = [
    "GraphView",
    "Operator",
    "Value",
    "check_gpu",
    "describe_findings",
    "require_gpu",
    "stays_on_cpu",
]

# How the runtimes were run here: the first on OpenCL, the second on Vulkan, both by the CPU.
_MEASURED = {"GpuDelegate": "GpuDelegate 2.16.1", "CompiledModel": "CompiledModel 2.3.0"}
_FILE = "gpu_rules.json"
CPU = "left to the CPU"  # as intended
# What a rule says will happen, the worst first.
_EFFECTS = {
    "wrong": "computed wrong",
    "refused": "refused: the GPU runtime does not start",
    "split": "left to the CPU in the middle of the graph",
    "cpu": CPU,
}
_LISTED = 3  # kinds of findings in an error
_STEPS = {"int4": 8, "int8": 128}  # the largest code of a symmetric type


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of a subgraph: what computes it, and what reads it."""

    graph: GraphView = field(repr=False)
    index: int

    @property
    def tensor(self) -> Any:
        return self.graph.subgraph.tensors[self.index]

    @property
    def shape(self) -> tuple[int, ...]:
        """The stored shape; a dimension of any length is 1."""
        return () if self.tensor.shape is None else tuple(map(int, self.tensor.shape))

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def kind(self) -> str:
        """The type, such as `float32`."""
        return type_name(self.tensor)

    @property
    def name(self) -> str:
        return (self.tensor.name or b"").decode(errors="replace")

    @property
    def constant(self) -> bool:
        data = self.graph.model.buffers[self.tensor.buffer].data
        return data is not None and len(data) > 0

    @property
    def any_length(self) -> bool:
        signature = self.tensor.shapeSignature
        return signature is not None and any(int(size) < 0 for size in signature)

    @property
    def source(self) -> Operator | None:
        """The operator that computes it."""
        return self.graph.sources.get(self.index)

    def largest(self) -> float:
        """Return a constant's largest absolute value; infinity if that is not known."""
        numbers = self.numbers()
        if numbers is not None:
            return float(np.abs(numbers.astype(np.float64)).max(initial=0.0))
        quantization = self.tensor.quantization
        if quantization is None or quantization.scale is None or self.kind not in _STEPS:
            return math.inf
        return _STEPS[self.kind] * float(np.max(quantization.scale, initial=0.0))

    @property
    def readers(self) -> list[Operator]:
        return self.graph.readers[self.index]

    @property
    def stored(self) -> bool:
        """Whether it is a constant, or one that an operator unpacks: a float16 weight."""
        source = self.source
        unpacked = source is not None and source.name in ("DEQUANTIZE", "DENSIFY")
        return self.constant or (unpacked and source is not None and source.inputs[0].constant)

    def comes_from(self, *names: str) -> bool:
        """Return whether an operator of one of these names computes it."""
        return self.source is not None and self.source.name in names

    def numbers(self) -> np.ndarray | None:
        """Return a constant's float32, float16 or int32 values, flat; None for other tensors."""
        if not self.constant or self.kind not in ("float32", "float16", "int32"):
            return None
        data = tensor_bytes(self.graph.model, self.tensor)
        width = np.dtype(self.kind).itemsize
        return np.frombuffer(data[: len(data) // width * width], self.kind)


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """An operator of a subgraph."""

    graph: GraphView = field(repr=False)
    index: int
    name: str
    version: int
    options: Any
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def computed(self) -> tuple[Value, ...]:
        """The inputs that are not constants."""
        return tuple(value for value in self.inputs if not value.constant)

    def option(self, name: str) -> Any:
        """Return an option; None where the operator has none of that name."""
        return getattr(self.options, name, None)


class GraphView:
    """A subgraph whose tensors know their operators."""

    def __init__(self, model: Any, index: int) -> None:
        self.model, self.index, self.subgraph = model, index, model.subgraphs[index]
        self.sources: dict[int, Operator] = {}
        self.readers: dict[int, list[Operator]] = defaultdict(list)
        self.inputs = set(_indices(self.subgraph.inputs))
        self.outputs = set(_indices(self.subgraph.outputs))
        self.operators = [
            self._operator(number, stored)
            for number, stored in enumerate(self.subgraph.operators or ())
        ]

    def _operator(self, number: int, stored: Any) -> Operator:
        code = self.model.operatorCodes[stored.opcodeIndex]
        custom = (code.customCode or b"").decode(errors="replace")
        one = Operator(
            self,
            number,
            custom or OPERATOR_NAMES.get(builtin_code(self.model, stored), "unnamed operator"),
            int(code.version or 1),
            stored.builtinOptions,
            tuple(Value(self, index) for index in _indices(stored.inputs)),
            tuple(Value(self, index) for index in _indices(stored.outputs)),
        )
        for value in one.outputs:
            self.sources[value.index] = one
        for value in one.inputs:
            self.readers[value.index].append(one)
        return one


def _indices(stored: Any) -> tuple[int, ...]:
    """Return tensor indices without those of optional inputs that are left out."""
    return () if stored is None else tuple(int(index) for index in stored if index >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Something in a graph that a GPU runtime does not do as the CPU does.

    Attributes:
        name: A short name for reports.
        what: What is found, in a few words.
        finds: Whether an operator is such a case.
        runtimes: Where it matters: `GpuDelegate`, `CompiledModel`.
        effect: One of `_EFFECTS`.
        reason: Why, in one sentence.
        remedy: What to do instead.
        measured: The runtimes in which a small graph of this kind showed the effect here.
        reports: Public reports, such as `google-ai-edge/LiteRT#8913`.
        source: The file in google-ai-edge/LiteRT that does or says it; empty if none was read.
    """

    name: str
    what: str
    finds: Callable[[Operator], bool]
    runtimes: tuple[str, ...]
    effect: str
    reason: str
    remedy: str
    measured: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    source: str = ""

    @property
    def evidence(self) -> str:
        """What the rule rests on, in one line."""
        measured = ", ".join(_MEASURED[name] for name in self.measured)
        parts = {"measured in": measured, "reported in": ", ".join(self.reports)}
        parts["read in"] = self.source
        return "; ".join(f"{how} {where}" for how, where in parts.items() if where)


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that an operator meets."""

    rule: Rule
    operator: Operator

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        one = self.operator
        return {
            "rule": self.rule.name,
            "effect": self.rule.effect,
            "subgraph": one.graph.index,
            "operator": one.index,
            "name": one.name,
            "tensor": one.outputs[0].name if one.outputs else "",
            "inputs": [list(value.shape) for value in one.inputs],
            "outputs": [list(value.shape) for value in one.outputs],
        }


def check_gpu(model: Any) -> list[Finding]:
    """Find what a GPU runtime would compute wrong, refuse, or leave to the CPU.

    Args:
        model: A parsed `schema.ModelT`, of this project or any other.

    Returns:
        One finding for each operator and rule, in the order of the operators; those whose effect
        is not `CPU` keep the file off the GPU.  An empty list proves nothing: compare values.
    """
    graphs = [GraphView(model, index) for index in range(len(model.subgraphs))]
    return [
        Finding(rule, operator)
        for graph in graphs
        for operator in graph.operators
        for rule in rules()
        if rule.finds(operator)
    ]


def require_gpu(kinds: Sequence[Mapping[str, Any]], *, where: str, whole: bool = False) -> None:
    """Raise if a file does not belong on a GPU.

    Args:
        kinds: The findings, as `describe_findings` returns them.
        where: What to call the file in the message.
        whole: Whether CompiledModel, the only runtime that matters then, is to run all of it.

    Raises:
        UnsupportedOpError: Some are more than tables left to the CPU; the message names the first.
    """
    if whole:
        serious = [kind for kind in kinds if "CompiledModel" in kind["runtimes"]]
    else:
        serious = [kind for kind in kinds if kind["effect"] != CPU]
    if not serious:
        return
    listed = "; ".join(
        f"{kind['name']} {kind['effect']}: {kind['what']} ({kind['count']} times, first operator "
        f"{kind['first']['operator']}, {kind['first']['tensor']})"
        for kind in serious[:_LISTED]
    )
    more = f"; and {len(serious) - _LISTED} more" if len(serious) > _LISTED else ""
    raise UnsupportedOpError(
        f"{where} does not belong on a GPU: {listed}{more}. Convert its checkpoint with --target "
        f"{'web' if whole else 'gpu'}, which avoids all of these."
    )


def describe_findings(findings: list[Finding]) -> list[dict[str, Any]]:
    """Summarize findings, one entry for each rule and operator name, the worst effects first.

    Returns:
        Entries ready for JSON: the rule's `rule`, `what`, `effect`, `runtimes`, `reason`, `remedy`
        and `evidence`, the operator's `name`, their `count`, and the `first` finding.
    """
    kinds: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for one in findings:
        kinds[one.rule.name, one.operator.name].append(one)
    entries = [
        {
            "rule": found[0].rule.name,
            "name": name,
            "count": len(found),
            "what": found[0].rule.what,
            "effect": found[0].rule.effect,
            "runtimes": list(found[0].rule.runtimes),
            "reason": found[0].rule.reason,
            "remedy": found[0].rule.remedy,
            "evidence": found[0].rule.evidence,
            "first": found[0].to_dict(),
        }
        for (_, name), found in kinds.items()
    ]
    effects = [*_EFFECTS.values()]
    return sorted(entries, key=lambda entry: effects.index(entry["effect"]))


# Operators.

_ELEMENTWISE = frozenset(
    {"ADD", "ATAN2", "DIV", "FLOOR_DIV", "FLOOR_MOD", "MAXIMUM", "MINIMUM", "MUL", "POW", "SUB"}
    | {"SQUARED_DIFFERENCE"}
)
_CONTROL_FLOW = ("CALL", "CALL_ONCE", "IF", "STABLEHLO_CASE", "STABLEHLO_WHILE", "WHILE")
_LOOKUPS = ("EMBEDDING_LOOKUP", "GATHER")
# The inputs that hold a shape, a place or an axis, and must be constants.
_SHAPE_INPUTS = {
    **dict.fromkeys(("RESHAPE", "TRANSPOSE", "PAD", "PADV2", "MIRROR_PAD", "TILE"), (1,)),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "CUMSUM"), (1,)),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), (1, 2, 3)),
    "SPLIT": (0,),
    "SPLIT_V": (1, 2),
    "BROADCAST_TO": (1,),
    "FILL": (0,),
    "RANGE": (0, 1, 2),
}

# What each rule finds.

_FINDS: dict[str, Callable[[Operator], bool]] = {}


def _finds(name: str) -> Callable[[Callable[[Operator], bool]], Callable[[Operator], bool]]:
    """Make a function what the rule of that name finds."""

    def decorate(finds: Callable[[Operator], bool]) -> Callable[[Operator], bool]:
        _FINDS[name] = finds
        return finds

    return decorate


_FLOATS = ("float16", "float32", "int4", "int8")  # of values, the last two quantized
_MOST_FLOAT16 = 65504.0
# Operators whose results are bounded by their inputs.
_BOUNDED = (
    *(*_LOOKUPS, "ADD", "CAST", "DEQUANTIZE", "MEAN", "MUL", "RELU", "RESHAPE", "SLICE"),
    *("SQUARE", "SQUARED_DIFFERENCE", "SUB", "TRANSPOSE"),
)


@_finds("transposed-product")
def _has_transposed_side(one: Operator) -> bool:
    return one.name == "BATCH_MATMUL" and bool(one.option("adjX") or one.option("adjY"))


@_finds("product-of-matrices")
def _multiplies_two_matrices(one: Operator) -> bool:
    both = one.name == "BATCH_MATMUL" and not any(value.stored for value in one.inputs)
    return both and all(value.rank == 2 for value in one.inputs)


@_finds("product-of-constant")
def _multiplies_constant(one: Operator) -> bool:
    if one.name != "BATCH_MATMUL" or not any(value.constant for value in one.inputs):
        return False
    return one.inputs[0].constant or one.inputs[1].rank != 2


# GPU tensors have batch, height, width and channels.  A computed tensor of lower rank has these:
_PLACES = {0: (), 1: (0,), 2: (0, 3), 3: (0, 2, 3), 4: (0, 1, 2, 3)}


def _places(value: Value) -> tuple[int, ...]:
    """Return which of the four dimensions a tensor's own are: a constant has the last ones."""
    constant = (3,) if value.size == value.shape[-1] else tuple(range(4 - value.rank, 4))
    return constant if value.constant else _PLACES[value.rank]


def _is_misplaced(value: Value, result: Value) -> bool:
    """Return whether a dimension of an input is another one than that of the result it meets."""
    if not 0 < value.rank <= result.rank <= 4:
        return False
    sizes = value.shape[-len(_places(value)) :]
    meets = _PLACES[result.rank][-len(sizes) :]
    return any(
        size > 1 and place != met
        for size, place, met in zip(sizes, _places(value), meets, strict=True)
    )


@_finds("rows-of-constant")
def _reads_rows_of_constant(one: Operator) -> bool:
    if one.name not in _ELEMENTWISE or len(one.computed) != 1:
        return False
    return any(value.constant and _is_misplaced(value, one.outputs[0]) for value in one.inputs)


@_finds("batches-of-constant")
def _has_batches_of_constant(one: Operator) -> bool:
    constants = [value for value in one.inputs if value.constant and value.rank == 4]
    return one.name in _ELEMENTWISE and any(value.shape[0] > 1 for value in constants)


@_finds("mixed-ranks")
def _mixes_ranks(one: Operator) -> bool:
    if one.name not in _ELEMENTWISE or len(one.computed) != 2:
        return False
    return any(_is_misplaced(value, one.outputs[0]) for value in one.computed)


@_finds("outer-product")
def _is_outer(one: Operator) -> bool:
    if one.name != "MUL" or len({value.rank for value in one.computed}) != 1:
        return False
    shapes = [value.shape for value in one.computed]
    pairs = list(zip(*shapes, strict=True)) if len(shapes) == 2 else []
    return any(a < b for a, b in pairs) and any(a > b for a, b in pairs)


@_finds("mask-on-product")
def _adds_mask_to_product(one: Operator) -> bool:
    if one.name not in ("ADD", "SUB") or len(one.inputs) != 2:
        return False
    sides = one.inputs, one.inputs[::-1]
    return any(
        product.comes_from("BATCH_MATMUL") and mask.size > 1 and mask.shape != one.outputs[0].shape
        for product, mask in sides
    )


@_finds("heads-as-batch")
def _has_heads_as_batch(one: Operator) -> bool:
    if one.name != "BATCH_MATMUL" or any(value.stored for value in one.inputs):
        return False
    return all(value.rank == 3 and value.shape[0] > 1 for value in one.inputs)


@_finds("same-tensor-twice")
def _reads_one_tensor_twice(one: Operator) -> bool:
    products = ("BATCH_MATMUL", "FULLY_CONNECTED")
    if one.name not in products and one.name not in _ELEMENTWISE - {"ADD", "MUL"}:
        return False
    indices = [value.index for value in one.computed]
    return len(indices) != len(set(indices))


@_finds("output-also-read")
def _is_output_and_read(one: Operator) -> bool:
    if one.name != "ADD" or len(one.computed) != 2:
        return False
    result = one.outputs[0]
    return result.index in one.graph.outputs and bool(result.readers)


@_finds("unscaled-squares")
def _sums_unscaled_squares(one: Operator) -> bool:
    if one.name not in ("MEAN", "SUM"):
        return False
    squares = one.inputs[0].source
    while squares is not None and squares.name == "RESHAPE":
        squares = squares.inputs[0].source
    if squares is None or not _is_square(squares) or _is_scaled(squares.inputs[0]):
        return False
    summed = one.inputs[0].size // max(one.outputs[0].size, 1)
    return summed * _largest(one.inputs[0]) > _MOST_FLOAT16


def _largest(value: Value, *, depth: int = 12) -> float:
    """Bound the absolute values of a tensor by those of the tables and constants it is made of."""
    if value.constant:
        return value.largest()
    one = value.source
    if one is None or not depth:
        return math.inf
    if one.name in ("LOGISTIC", "SOFTMAX", "TANH"):
        return 1.0
    if one.name not in _BOUNDED:
        return math.inf
    if one.name in _LOOKUPS:
        return _largest(one.inputs[_table(one)], depth=depth - 1)
    sides = [_largest(side, depth=depth - 1) for side in one.inputs if side.kind in _FLOATS]
    if not sides:
        return math.inf
    first, last = sides[0], sides[-1]
    return {
        "ADD": first + last,
        "SUB": first + last,
        "MUL": first * last,
        "SQUARE": first * first,
        "SQUARED_DIFFERENCE": (first + last) ** 2,
    }.get(one.name, first)


def _is_square(one: Operator) -> bool:
    if one.name in ("SQUARE", "SQUARED_DIFFERENCE"):
        return True
    if one.name == "POW":
        power = one.inputs[1].numbers()
        return power is not None and power.size == 1 and float(power[0]) == 2
    return one.name == "MUL" and len({value.index for value in one.inputs}) == 1


def _is_scaled(value: Value, *, depth: int = 6) -> bool:
    """Return whether a constant below 1 multiplies a value, before or after a mean is taken off."""
    source = value.source
    if source is None or not depth:
        return False
    if source.name in ("MUL", "DIV"):
        factors = [side.largest() for side in source.inputs if side.constant and side.size == 1]
        if factors and (factors[0] < 1 if source.name == "MUL" else factors[0] > 1):
            return True
    passed = source.name in ("ADD", "MEAN", "MUL", "RESHAPE", "SUB", "TRANSPOSE")
    return passed and all(_is_scaled(side, depth=depth - 1) for side in source.computed)


@_finds("tanh-gelu")
def _is_tanh_gelu(one: Operator) -> bool:
    return one.name == "GELU" and bool(one.option("approximate"))


@_finds("reordered-parts")
def _reorders_parts(one: Operator) -> bool:
    splits = {value.source for value in one.inputs if value.comes_from("SPLIT", "SPLIT_V")}
    if one.name != "CONCATENATION" or len(splits) != 1:
        return False
    (split,) = splits
    parts = [part.index for part in split.outputs] if split is not None else []
    joined = [value.index for value in one.inputs]
    only_read_here = all(len(value.readers) == 1 for value in one.inputs)
    return set(joined) <= set(parts) and only_read_here and joined != parts


@_finds("pad-of-rank-3")
def _pads_rank_3(one: Operator) -> bool:
    if one.name not in ("PAD", "PADV2") or one.inputs[0].rank != 3:
        return False
    amounts = one.inputs[1].numbers()
    return one.inputs[0].shape[0] > 1 or (amounts is not None and bool(np.any(amounts[:2])))


@_finds("slice-of-low-rank")
def _slices_low_rank(one: Operator) -> bool:
    slices = one.name in ("SLICE", "STRIDED_SLICE", "PAD", "PADV2", "MIRROR_PAD")
    return slices and bool(one.inputs) and one.inputs[0].rank < 3


@_finds("masked-slice")
def _masks_slice(one: Operator) -> bool:
    masks = ("ellipsisMask", "newAxisMask", "shrinkAxisMask")
    return one.name == "STRIDED_SLICE" and any(one.option(mask) for mask in masks)


def _table(one: Operator) -> int:
    return 1 if one.name == "EMBEDDING_LOOKUP" else 0


def _looks_up(one: Operator) -> bool:
    return one.name in _LOOKUPS and len(one.inputs) > 1 and one.inputs[_table(one)].stored


@_finds("lookup-by-list")
def _looks_up_list(one: Operator) -> bool:
    return _looks_up(one) and one.name == "GATHER" and one.inputs[1].rank < 2


@_finds("float16-lookup")
def _looks_up_float16(one: Operator) -> bool:
    return _looks_up(one) and one.inputs[_table(one)].kind == "float16"


@_finds("lookup")
def stays_on_cpu(one: Operator) -> bool:
    """Return whether an operator reads a table, or unpacks what was read from it."""
    if one.name in ("CAST", "DEQUANTIZE") and one.inputs[0].kind == "float16":
        source = one.inputs[0].source
        return source is not None and source.name in _LOOKUPS and stays_on_cpu(source)
    return _looks_up(one) and not _looks_up_list(one)


@_finds("unpacked-table")
def _unpacks_table(one: Operator) -> bool:
    readers = one.outputs[0].readers if one.name == "DEQUANTIZE" else []
    return any(reader.name in _LOOKUPS for reader in readers) and one.inputs[0].constant


@_finds("gather-of-rank-2")
def _gathers_high_rank(one: Operator) -> bool:
    gathers = one.name == "GATHER" and len(one.inputs) > 1 and not _looks_up(one)
    return gathers and one.inputs[1].rank != 1


@_finds("unpacked-int8-weight")
def _unpacks_int8_weight(one: Operator) -> bool:
    if one.name != "FULLY_CONNECTED" or len(one.inputs) < 2:
        return False
    source = one.inputs[1].source
    unpacked = source is not None and source.name == "DEQUANTIZE"
    return unpacked and source is not None and source.inputs[0].kind == "int8"


@_finds("sum-of-int8-product")
def _adds_to_int8_product(one: Operator) -> bool:
    if one.name != "FULLY_CONNECTED" or len(one.inputs) < 2 or one.outputs[0].rank != 3:
        return False
    dynamic = one.inputs[1].kind == "int8" and one.inputs[0].kind == "float32"
    return dynamic and any(reader.name == "ADD" for reader in one.outputs[0].readers)


@_finds("computed-shape")
def _computes_shape(one: Operator) -> bool:
    if one.name in ("SHAPE", "RANK"):
        return True
    places = _SHAPE_INPUTS.get(one.name, ())
    shapes = [one.inputs[place] for place in places if place < len(one.inputs)]
    return any(value.source is not None for value in shapes)


@_finds("any-length")
def _takes_any_length(one: Operator) -> bool:
    return any(value.any_length and value.index in one.graph.inputs for value in one.inputs)


@_finds("integer-arithmetic")
def _computes_in_integers(one: Operator) -> bool:
    if _looks_up(one) or one.name in _CONTROL_FLOW:
        return False
    if one.name == "DEQUANTIZE" and one.inputs[0].comes_from(*_LOOKUPS):
        return False
    return _has_kind(one, "int16", "int4", "int8", "uint8")


@_finds("arithmetic-on-ids")
def _computes_on_ids(one: Operator) -> bool:
    if one.name in _CONTROL_FLOW or one.name in (*_LOOKUPS, "CAST", "SHAPE", "RANK"):
        return False
    return _has_kind(one, "int32", "int64")


def _has_kind(one: Operator, *kinds: str) -> bool:
    return any(value.kind in kinds for value in (*one.computed, *one.outputs))


@_finds("rank-above-4")
def _has_high_rank(one: Operator) -> bool:
    return any(value.rank > 4 for value in (*one.inputs, *one.outputs))


@_finds("cast")
def _casts_other_types(one: Operator) -> bool:
    if one.name != "CAST" or stays_on_cpu(one):
        return False
    pair = {one.inputs[0].kind, one.outputs[0].kind}
    numbers = pair <= {"float32", "int32"}
    return not numbers and pair not in ({"bool", "float32"}, {"bool", "float16"})


@_finds("softmax-beta")
def _scales_softmax(one: Operator) -> bool:
    return one.name == "SOFTMAX" and one.option("beta") not in (None, 1.0)


@_finds("control-flow")
def _calls_subgraph(one: Operator) -> bool:
    return one.name in _CONTROL_FLOW


@_finds("unknown-to-delegate")
def _is_unknown_to_delegate(one: Operator) -> bool:
    return _is_newer(one, "GpuDelegate")


@_finds("unknown-to-compiled-model")
def _is_unknown_to_compiled_model(one: Operator) -> bool:
    return _is_newer(one, "CompiledModel")


def _is_newer(one: Operator, runtime: str) -> bool:
    if one.name in _CONTROL_FLOW or _looks_up(one) or stays_on_cpu(one):
        return False
    return one.version > _newest_versions()[runtime].get(one.name, 0)


@cache
def read_rules(name: str) -> dict[str, Any]:
    """Read a file of rules beside this one."""
    found: dict[str, Any] = json.loads(
        resources.files(__package__).joinpath(name).read_text("utf-8")
    )
    return found


@cache
def _newest_versions() -> dict[str, dict[str, int]]:
    """Return the newest version of every operator that each runtime supports, by its name."""
    listed = read_rules(_FILE)["operators"].items()
    return {runtime: by_name(versions) for runtime, versions in listed}


def by_name(versions: Mapping[str, str]) -> dict[str, int]:
    """Return the version of each operator, from the operators of each version."""
    return {name: int(one) for one, names in versions.items() for name in names.split()}


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule, the worst effects of products and sums first."""
    return tuple(
        Rule(
            **{**one, "effect": _EFFECTS[one["effect"]], "finds": _FINDS[one["name"]]}
            | {key: tuple(one.get(key, ())) for key in ("runtimes", "measured", "reports")}
        )
        for one in read_rules(_FILE)["rules"]
    )
