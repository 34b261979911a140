"""Find out which operators of a TFLite graph the Edge TPU's compiler maps to the chip, and why not.

The compiler, 16.0, is closed.  `edgetpu_rules.json` has what its documentation says, what its
public logs show, and what public pairs of a model and its compiled form show, as rules; a function
here finds the operators that each is about.  The tests compare the result with such pairs, operator
by operator.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from albert_edge.errors import InputError, UnsupportedOpError
from albert_edge.tflite.gpu_rules import GraphView, Operator, Value, by_name, read_rules
from albert_edge.tflite.graph import OPERATOR_NAMES, tensor_bytes

__all__ = ["check_edgetpu", "require_edgetpu"]

# What compilers' logs report as free for weights in the smallest models: the chip has 8 MiB, of
# which the compiled program and its scratch take a part that only the compiler knows.
_CACHE_BYTES = int(7.67 * 2**20)
_FILE = "edgetpu_rules.json"
_CHIP = "Edge TPU"
_COMPILED = "edgetpu-custom-op"  # what the compiler moves the operators into that it maps
_EFFECTS = {"refused": "refused", "cpu": "CPU"}  # what a rule says will happen, the worst first
_LARGEST_SOFTMAX = 16_000
_LARGEST_RESIZE = 8
_EIGHT_BITS = ("int8", "uint8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A limit of the compiler.

    Attributes:
        name: A short name for reports.
        what: What is found, in a few words.
        effect: `cpu`, or `refused`: the whole file is not compiled.
        reason: Why, in the words of the compiler's table or log where there are any.
        remedy: What to do instead.
        finds: Whether an operator is such a case.
        table: Whether the table of supported operators says it.
        reports: Public reports with logs, such as `google-coral/edgetpu#242`.
        pairs: Public models whose compiled forms show it.
    """

    name: str
    what: str
    effect: str
    reason: str
    remedy: str
    finds: Callable[[Operator], bool] = field(repr=False)
    table: bool = False
    reports: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """What the rule rests on, in one line."""
        parts = [read_rules(_FILE)["sources"]["table"]] if self.table else []
        parts += [", ".join(self.reports)] if self.reports else []
        parts += [f"compiled {', '.join(self.pairs)}"] if self.pairs else []
        return "; ".join(parts)


_FINDS: dict[str, Callable[[Operator], bool]] = {}


def check_edgetpu(model: Any) -> dict[str, Any]:
    """Report what the Edge TPU's compiler would map of a model, and why not the rest.

    Args:
        model: A parsed `schema.ModelT`, of this project or any other, before it is compiled.

    Returns:
        Figures ready for JSON:
        `operators`, and how many of them are `mapped`; `compiles`, false if the compiler ends with
        an error;
        `findings`: for each operator its `subgraph`, number (`operator`), `name`, `tensor`, what it
        `runs_on`, and the `rule` that keeps it off the chip, or None;
        `kinds`: the operators by name and rule, those that are mapped last: `name`, `count`,
        `runs_on`, and where it is not the chip `rule`, `what`, `reason`, `remedy`, `evidence` and
        the `first` operator;
        `weights`: `bytes` of the mapped operators, a weight that several of them read counted for
        each, as the compiler stores it; `stored_bytes`, counted once; `cache_bytes`, the most that
        may stay on the chip; `streamed_bytes`, what is sent again for every inference because it
        does not fit, at least; `duplicated`, whether a weight is stored more than once;
        `transfers`: `calls` of the chip an inference, and the `input_bytes` and `output_bytes`
        that they move;
        `multiply_adds` of the products on the chip.

    Raises:
        InputError: The model was compiled already.
    """
    graphs = [GraphView(model, index) for index in range(len(model.subgraphs))]
    if any(one.name == _COMPILED for graph in graphs for one in graph.operators):
        raise InputError(
            "the model was compiled for the Edge TPU already; give the one that it was made of."
        )
    verdicts = [one for graph in graphs for one in _verdicts(graph)]
    mapped = [operator for operator, rule in verdicts if rule is None]
    refused = any(rule is not None and rule.effect == "refused" for _, rule in verdicts)
    return {
        "operators": len(verdicts),
        "mapped": len(mapped),
        "compiles": not refused and len(graphs) == 1,
        "findings": [_finding(operator, rule) for operator, rule in verdicts],
        "kinds": _describe(verdicts),
        "weights": _weights(mapped),
        "transfers": _transfers(mapped),
        "multiply_adds": sum(map(_multiply_adds, mapped)),
    }


def require_edgetpu(figures: Mapping[str, Any], *, where: str) -> None:
    """Raise if a file does not belong on an Edge TPU.

    Args:
        figures: What `check_edgetpu` returned.
        where: What to call the file in the message.

    Raises:
        UnsupportedOpError: The compiler refuses the file, or maps nothing of it.
    """
    if figures["compiles"] and figures["mapped"]:
        return
    worst = figures["kinds"][0] if figures["kinds"] else {}
    effect = "maps nothing of" if figures["compiles"] else "refuses"
    found = f": {worst['count']} {worst['name']} ({worst['what']})" if "what" in worst else ""
    raise UnsupportedOpError(f"the Edge TPU's compiler {effect} {where}{found}.")


def _verdicts(graph: GraphView) -> list[tuple[Operator, Rule | None]]:
    """Return each operator, and the first rule that keeps it off the chip.

    The chip takes one part of the graph: what leads to it may run on the CPU, and what follows an
    operator on the CPU that follows the chip does so too.
    """
    behind = next(rule for rule in rules() if rule.name == "behind-the-cpu")
    verdicts: list[tuple[Operator, Rule | None]] = []
    behind_chip: set[int] = set()  # operators that need a result of the chip, or are on it
    behind_cpu: set[int] = set()  # those of them that need the CPU after it, or are there
    for one in graph.operators:
        needed = {value.source.index for value in one.inputs if value.source is not None}
        rule = next((rule for rule in rules() if rule.finds(one)), None)
        if rule is None and needed & behind_cpu:
            rule = behind
        follows_chip = bool(needed & behind_chip)
        if rule is None or follows_chip:
            behind_chip.add(one.index)
        if follows_chip and (rule is not None or needed & behind_cpu):
            behind_cpu.add(one.index)
        verdicts.append((one, rule))
    return verdicts


def _finding(one: Operator, rule: Rule | None) -> dict[str, Any]:
    return {
        "subgraph": one.graph.index,
        "operator": one.index,
        "name": one.name,
        "tensor": one.outputs[0].name if one.outputs else "",
        "runs_on": _CHIP if rule is None else _EFFECTS[rule.effect],
        "rule": None if rule is None else rule.name,
    }


def _describe(verdicts: list[tuple[Operator, Rule | None]]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, Rule | None], list[Operator]] = defaultdict(list)
    for operator, rule in verdicts:
        kinds[operator.name, rule].append(operator)
    entries = []
    for (name, rule), found in kinds.items():
        entry: dict[str, Any] = {"name": name, "count": len(found), "runs_on": _CHIP}
        if rule is not None:
            shapes = {
                "inputs": [list(value.shape) for value in found[0].inputs],
                "outputs": [list(value.shape) for value in found[0].outputs],
            }
            entry |= {
                "runs_on": _EFFECTS[rule.effect],
                "rule": rule.name,
                "what": rule.what,
                "reason": rule.reason,
                "remedy": rule.remedy,
                "evidence": rule.evidence,
                "first": _finding(found[0], rule) | shapes,
            }
        entries.append(entry)
    order = [*_EFFECTS.values(), _CHIP]
    return sorted(entries, key=lambda entry: order.index(entry["runs_on"]))


def _weights(mapped: list[Operator]) -> dict[str, Any]:
    sizes: dict[int, int] = {}
    uses: Counter[int] = Counter()
    for one in mapped:
        for value in one.inputs:
            if value.constant and value.kind in (*_EIGHT_BITS, "int32") and not _is_shape(value):
                buffer = value.tensor.buffer
                sizes[buffer] = len(tensor_bytes(value.graph.model, value.tensor))
                uses[buffer] += 1
    size = sum(sizes[buffer] * count for buffer, count in uses.items())
    return {
        "bytes": size,
        "stored_bytes": sum(sizes.values()),
        "cache_bytes": _CACHE_BYTES,
        "streamed_bytes": max(0, size - _CACHE_BYTES),
        "duplicated": any(count > 1 for count in uses.values()),
    }


def _is_shape(value: Value) -> bool:
    """Return whether a constant is a shape, an axis or the like, which is not sent to the chip."""
    return value.kind == "int32" and value.tensor.quantization is None


def _transfers(mapped: list[Operator]) -> dict[str, int]:
    inside = set(mapped)
    inputs: dict[tuple[int, int], int] = {}
    outputs: dict[tuple[int, int], int] = {}
    for one in mapped:
        for value in one.computed:
            if value.source not in inside:
                inputs[one.graph.index, value.index] = value.size
        for value in one.outputs:
            if value.index in one.graph.outputs or not inside.issuperset(value.readers):
                outputs[one.graph.index, value.index] = value.size
    return {
        "calls": len({one.graph.index for one in mapped}),
        "input_bytes": sum(inputs.values()),
        "output_bytes": sum(outputs.values()),
    }


def _multiply_adds(one: Operator) -> int:
    if one.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        return 0
    weight, result = one.inputs[1], one.outputs[0]
    if one.name == "TRANSPOSE_CONV":
        return weight.size * one.inputs[2].size // max(1, one.inputs[2].shape[-1])
    channels = result.shape[-1] if result.shape else 1
    return weight.size * (result.size // max(1, channels))


def _finds(name: str) -> Callable[[Callable[[Operator], bool]], Callable[[Operator], bool]]:
    def keep(finder: Callable[[Operator], bool]) -> Callable[[Operator], bool]:
        _FINDS[name] = finder
        return finder

    return keep


@_finds("unknown-to-compiler")
def _is_unknown(one: Operator) -> bool:
    builtin = one.name in OPERATOR_NAMES.values()  # others are custom, and left to the CPU
    return builtin and one.version > _newest().get(one.name, 0)


@_finds("several-subgraphs")
def _calls_subgraph(one: Operator) -> bool:
    return one.name in ("WHILE", "IF", "CALL_ONCE")


@_finds("any-length")
def _takes_any_length(one: Operator) -> bool:
    return any(value.any_length for value in (*one.inputs, *one.outputs))


@_finds("not-int8")
def _has_other_types(one: Operator) -> bool:
    kinds = {value.kind for value in (*one.computed, *one.outputs)}
    state = {"int16"} if one.name == "UNIDIRECTIONAL_SEQUENCE_LSTM" else set()
    return not kinds <= {*_EIGHT_BITS, *state}


@_finds("not-mapped")
def _is_not_mapped(one: Operator) -> bool:
    return one.name != "TRANSPOSE" and one.name not in read_rules(_FILE)["mapped"].split()


@_finds("transpose")
def _transposes(one: Operator) -> bool:
    return one.name == "TRANSPOSE"


@_finds("four-dimensions")
def _has_four_dimensions(one: Operator) -> bool:
    return any(math.prod(value.shape[:-3]) > 1 for value in (*one.computed, *one.outputs))


@_finds("product-of-rows")
def _multiplies_rows(one: Operator) -> bool:
    return one.name == "FULLY_CONNECTED" and _rows(one.outputs[0]) > 1


@_finds("computed-weight")
def _computes_weight(one: Operator) -> bool:
    products = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return one.name in products and any(not value.constant for value in one.inputs[1:])


@_finds("weights-format")
def _shuffles_weights(one: Operator) -> bool:
    return one.name == "FULLY_CONNECTED" and bool(one.option("weightsFormat"))


@_finds("softmax-of-rows")
def _normalizes_rows(one: Operator) -> bool:
    return one.name == "SOFTMAX" and _rows(one.inputs[0]) > 1


@_finds("softmax-size")
def _normalizes_many(one: Operator) -> bool:
    return one.name == "SOFTMAX" and one.inputs[0].size > _LARGEST_SOFTMAX


@_finds("fused-activation")
def _fuses_activation(one: Operator) -> bool:
    names = ("AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D")
    return one.name in names and bool(one.option("fusedActivationFunction"))


@_finds("joined-constant")
def _joins_constant(one: Operator) -> bool:
    constants = [value for value in one.inputs if value.constant]
    if one.name != "CONCATENATION" or not constants:
        return False
    return len(one.inputs) != 2 or any(map(_is_not_zero, constants))


@_finds("unequal-dilation")
def _dilates_unequally(one: Operator) -> bool:
    return bool(one.option("dilationWFactor") != one.option("dilationHFactor"))


@_finds("batch-axis")
def _computes_batch(one: Operator) -> bool:
    if one.name in ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"):
        return _outermost(one.inputs[0]) in _axes(one.inputs[1], one.inputs[0])
    if one.name == "SPLIT" and len(one.outputs) > 1:
        return _outermost(one.inputs[1]) in _axes(one.inputs[0], one.inputs[1])
    if one.name == "PACK":
        return bool(one.outputs[0].rank == 4 and one.option("axis") in (0, -4))
    padding = one.inputs[1].numbers() if one.name == "PAD" else None
    return padding is not None and one.inputs[0].rank == 4 and bool(np.any(padding[:2]))


@_finds("mean-of-channels")
def _averages_channels(one: Operator) -> bool:
    if one.name != "MEAN":
        return False
    values = one.inputs[0]
    return values.rank - 1 in _axes(one.inputs[1], values) and values.shape[-1] % 4 != 0


@_finds("strides")
def _strides(one: Operator) -> bool:
    if one.name != "STRIDED_SLICE":
        return False
    strides = one.inputs[3].numbers()
    masks = one.option("ellipsisMask") or one.option("newAxisMask")
    return strides is None or bool((strides != 1).any()) or bool(masks)


@_finds("squeeze")
def _squeezes(one: Operator) -> bool:
    if one.name != "SQUEEZE":
        return False
    before, after = one.inputs[0].shape, one.outputs[0].shape
    return before[len(before) - len(after) :] != after


@_finds("prelu-slopes")
def _has_many_slopes(one: Operator) -> bool:
    return one.name == "PRELU" and _rows(one.inputs[1]) > 1


@_finds("large-resize")
def _enlarges(one: Operator) -> bool:
    if one.name != "RESIZE_BILINEAR":
        return False
    before, after = one.inputs[0].shape, one.outputs[0].shape
    sizes = zip(before[1:3], after[1:3], strict=True)
    return any(new > _LARGEST_RESIZE * old for old, new in sizes)


def _rows(value: Value) -> int:
    """Return the product of all dimensions but the innermost."""
    return math.prod(value.shape[:-1])


def _is_not_zero(value: Value) -> bool:
    points = value.tensor.quantization.zeroPoint
    zero = 0 if points is None else int(points[0])
    return bytes([zero % 256]) * value.size != bytes(tensor_bytes(value.graph.model, value.tensor))


def _axes(axes: Value, values: Value) -> set[int]:
    """Return the dimensions that an operator works along, counted from the outermost."""
    numbers = axes.numbers()
    return set() if numbers is None else {int(axis) % max(1, values.rank) for axis in numbers}


def _outermost(value: Value) -> int:
    """Return the batch dimension; -1 where a tensor has none."""
    return 0 if value.rank == 4 else -1


@cache
def _newest() -> dict[str, int]:
    """Return the newest version that the compiler reads of every operator it knows."""
    return by_name(read_rules(_FILE)["newest"])


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule, in the order in which they are looked at."""
    found = []
    for one in read_rules(_FILE)["rules"]:
        lists = {key: tuple(one.get(key, ())) for key in ("reports", "pairs")}
        found.append(Rule(**{**one, **lists}, finds=_FINDS.get(one["name"], _never)))
    return tuple(found)


def _never(_: Operator) -> bool:
    """Find nothing, for the rule about several operators, which `_verdicts` applies itself."""
    return False
