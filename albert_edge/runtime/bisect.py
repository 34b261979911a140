"""Find the first operator of a graph whose result on an accelerator differs from the CPU's.

A graph is cut behind an operator: what does not lead to it is removed, and its results become the
outputs.  So everything before it is computed by the accelerator as in the whole graph, and nothing
is both an output and read by another operator, which is a fault of its own in GPU runtimes
(google-ai-edge/LiteRT#8599).  If a cut's result is right, so is presumably all that leads to it;
if it is wrong, the search goes on before it.  A cut that the accelerator refuses, or at which its
process ends, counts as wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from albert_edge.errors import BundleError, DeviceError, InputError
from albert_edge.runtime.compiled_model import check_gpu, with_float_weights
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.runtime.isolated import run_graph
from albert_edge.tflite.gpu_rules import GraphView, Operator, Value, stays_on_cpu
from albert_edge.tflite.graph import copy_model, pack, parse, schema, signature

__all__ = ["find_divergence", "gpu_engine"]

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
# A model and its inputs by name, to its outputs by name.  Raises DeviceError if it refuses it.
Engine: TypeAlias = Callable[[bytes, Arrays], Arrays]
# Rounding of float32 is 2e-6 of the largest value after 12 passes of ALBERT-base; the smallest
# known fault, GELU in its other form, is 5e-5 and more.
_LIMIT = 2e-5
_DEFAULT_LIMIT = 0.05  # of float16, after 12 passes
# A sum of many values may be much smaller than they are, and its rounding is not.
_OF_INPUTS = 0.01


def gpu_engine(accelerator: str) -> tuple[Engine, float, str]:
    """Return what runs a model on the GPU, each in a process of its own.

    Args:
        accelerator: `gpu` or `gpu:float32`, or `gpu:default` for the driver's own precision.

    Returns:
        The engine; the largest difference that is rounding there; and the name of the GPU.

    Raises:
        DeviceError: There is no GPU.
    """
    name = accelerator if accelerator == "gpu:default" else "gpu:float32"
    limit = _DEFAULT_LIMIT if accelerator == "gpu:default" else _LIMIT

    def engine(content: bytes, inputs: Arrays) -> Arrays:
        return run_graph(content, inputs, accelerator=name)

    return engine, limit, check_gpu()["device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where an accelerator's results stop being the CPU's.

    Attributes:
        effect: `computed wrong`; `refused`; or `wrong only in the whole graph`, where the operator
            computes an output that is right if it is the only one.
        operator: The operator's place in its subgraph.
        name: Its type, such as `BATCH_MATMUL`.
        tensor: The name of its result.
        inputs: The shapes of its inputs.
        outputs: The shapes of its results.
        error: The largest difference, over the largest value; None if it was refused.
        message: What the runtime said, or empty.
        cuts: How many graphs were run to find it.
    """

    effect: str
    operator: int
    name: str
    tensor: str
    inputs: list[list[int]]
    outputs: list[list[int]]
    error: float | None
    message: str
    cuts: int

    def to_dict(self) -> dict[str, Any]:
        """Return every field by its name, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with a cut: an error, or a refusal."""

    error: float | None
    message: str = ""


def find_divergence(
    content: bytes,
    inputs: Mapping[str, npt.NDArray[Any]],
    engine: Engine,
    *,
    key: str | None = None,
    limit: float = _LIMIT,
    on_cut: Callable[[int, int], None] = lambda done, expected: None,
) -> Divergence | None:
    """Find the first operator whose result on an accelerator differs from the CPU's.

    Args:
        content: A model, of this project or any other.
        inputs: Its inputs by the names of the signature.
        engine: Runs a model on the accelerator.
        key: The signature; the first one if left out.
        limit: The largest difference that is rounding, over the largest value.
        on_cut: Called with the number of graphs that were run, and about how many there will be.

    Returns:
        The operator; None if the whole graph is right.

    Raises:
        InputError: The model has no signature of that name, or the inputs are not its own.
        BundleError: The CPU cannot run it.
    """
    return _Search(content, dict(inputs), engine, key, limit, on_cut).run()


class _Search:
    def __init__(
        self,
        content: bytes,
        inputs: Arrays,
        engine: Engine,
        key: str | None,
        limit: float,
        on_cut: Callable[[int, int], None],
    ) -> None:
        self._model, self._names = _only_signature(parse(content), key)
        self._inputs, self._engine = inputs, engine
        self._limit, self._on_cut = limit, on_cut
        self._values = _run_on_cpu(self._model, self._names, inputs)
        self._graph = GraphView(self._model, 0)
        self._before = _ancestors(self._graph)
        self._cuts = 0
        self._faults: dict[int, _Fault | None] = {}

    def run(self) -> Divergence | None:
        outputs = [Value(self._graph, index) for index in sorted(self._graph.outputs)]
        last = [value.source for value in outputs if value.source is not None]
        within = [*outputs, *(value for operator in last for value in operator.inputs)]
        fault = self._run(list(self._graph.operators), outputs, within=within)
        if fault is None or not last:
            return None
        for operator in sorted(last, key=lambda one: one.index):
            if (found := self._first(operator)) is not None:
                return self._report(found, self._faults[found.index] or fault)
        effect = "refused" if fault.error is None else "wrong only in the whole graph"
        return self._report(last[0], fault, effect)

    def _report(self, one: Operator, fault: _Fault, effect: str = "") -> Divergence:
        return Divergence(
            effect=effect or ("refused" if fault.error is None else "computed wrong"),
            operator=one.index,
            name=one.name,
            tensor=one.outputs[0].name,
            inputs=[self._shape(value) for value in one.inputs],
            outputs=[self._shape(value) for value in one.outputs],
            error=fault.error,
            message=fault.message,
            cuts=self._cuts,
        )

    def _shape(self, value: Value) -> list[int]:
        return list(self._values[value.index].shape if value.index in self._values else value.shape)

    def _first(self, last: Operator) -> Operator | None:
        """Return the first faulty operator that leads to `last`, itself included."""
        culprit, right = None, set[int]()
        suspects = {index for index in self._before[last.index] if self._can_cut(index)}
        while True:
            rest = suspects - right
            while rest:
                index = self._middle(rest)
                if self._fault(index) is None:
                    rest -= self._before[index]
                else:
                    culprit = index
                    rest = (rest & self._before[index]) - {index}
            if culprit is None:
                return None
            # What leads to it was presumed right, most of it.
            right = {index for index, fault in self._faults.items() if fault is None}
            read = self._readable(self._graph.operators[culprit])
            if all(self._fault(index) is None for index in read):
                return self._graph.operators[culprit]
            suspects = self._before[culprit] & suspects - {culprit}

    def _readable(self, one: Operator) -> list[int]:
        """Return the nearest operators before one that can be cut."""
        found = []
        for value in one.inputs:
            if (source := value.source) is not None:
                near = [source.index] if self._can_cut(source.index) else self._readable(source)
                found += near
        return found

    def _middle(self, suspects: set[int]) -> int:
        """Return the operator with nearly half of the suspects before it."""
        half = len(suspects) / 2
        return min(suspects, key=lambda index: abs(len(self._before[index] & suspects) - half))

    def _can_cut(self, index: int) -> bool:
        """Return whether an operator computes floats of an input, and belongs on the GPU."""
        one = self._graph.operators[index]
        return (
            any(self._is_compared(value) for value in one.outputs)
            and self._used_inputs(self._before[index]) != []
            and not stays_on_cpu(one)
        )

    def _is_compared(self, value: Value) -> bool:
        return value.kind == "float32" and value.index in self._values

    def _used_inputs(self, operators: set[int]) -> list[int]:
        read = {value.index for index in operators for value in self._graph.operators[index].inputs}
        return [index for index in self._names if index in read]

    def _fault(self, index: int) -> _Fault | None:
        if index not in self._faults:
            one = self._graph.operators[index]
            kept = [self._graph.operators[before] for before in sorted(self._before[index])]
            results = [value for value in one.outputs if self._is_compared(value)]
            self._faults[index] = self._run(kept, results, within=[*one.inputs, *results])
        return self._faults[index]

    def _run(
        self, operators: list[Operator], outputs: list[Value], *, within: list[Value]
    ) -> _Fault | None:
        """Run a part of the graph on the accelerator, and compare its outputs with the CPU's."""
        self._cuts += 1
        expected = 4 + len(self._graph.operators).bit_length()
        self._on_cut(self._cuts, max(expected, self._cuts))
        used = self._used_inputs({one.index for one in operators})
        model = self._cut(operators, used, outputs)
        inputs = {self._names[index]: self._inputs[self._names[index]] for index in used}
        try:
            found = self._engine(pack(model), inputs)
        except DeviceError as refusal:
            return _Fault(None, str(refusal))
        error = max(
            (
                self._error(found[f"y{number}"], value, within)
                for number, value in enumerate(outputs)
            ),
            default=0.0,
        )
        return None if error <= self._limit else _Fault(error)

    def _error(self, found: npt.NDArray[Any], value: Value, within: list[Value]) -> float:
        right = self._values[value.index].astype(np.float64)
        if found.size != right.size or not np.isfinite(found).all():
            return float("inf")
        inputs = [self._values[one.index] for one in within if one.index in self._values]
        largest = max((_largest(one) * _OF_INPUTS for one in inputs), default=0.0)
        scale = max(_largest(right), largest, float(np.finfo(np.float32).tiny))
        return float(np.abs(found.reshape(right.shape) - right).max(initial=0.0)) / scale

    def _cut(self, operators: list[Operator], used: list[int], outputs: list[Value]) -> Any:
        """Return a model of some of the operators."""
        model = copy_model(self._model)
        graph = model.subgraphs[0]
        graph.operators = [graph.operators[one.index] for one in operators]
        graph.inputs, graph.outputs = used, [value.index for value in outputs]
        inputs = {self._names[index]: index for index in used}
        named = {f"y{number}": value.index for number, value in enumerate(outputs)}
        model.signatureDefs = [signature("serving_default", inputs, named)]
        model.metadata = model.metadataBuffer = None
        _drop_buffers(model)
        return model


def _largest(values: npt.NDArray[Any]) -> float:
    if values.dtype.kind != "f":
        return 0.0
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))


def _only_signature(model: Any, key: str | None) -> tuple[Any, dict[int, str]]:
    """Return a model whose first subgraph is that of a signature, and its inputs' names."""
    known = {(one.signatureKey or b"").decode(): one for one in model.signatureDefs or ()}
    chosen = next(iter(known), None) if key is None else key
    if chosen not in known:
        raise InputError(
            f"the model has no signature {chosen!r}; it has {', '.join(known) or 'none'}."
            if known
            else "the model has no signature, so its inputs have no names; it cannot be bisected."
        )
    one, model = known[chosen], copy_model(model)
    if one.subgraphIndex:
        # Several lengths in one file: graphs without calls, each for itself.
        model.subgraphs = [model.subgraphs[one.subgraphIndex]]
    return model, {int(entry.tensorIndex): entry.name.decode() for entry in one.inputs}


def _run_on_cpu(model: Any, names: Mapping[int, str], inputs: Arrays) -> dict[int, Any]:
    """Return the value of every computed tensor, by its index, in float arithmetic."""
    model = copy_model(model)
    model.signatureDefs = None
    content = with_float_weights(pack(model))
    interpreter = open_interpreter(content, threads=1, preserve_all_tensors=True)
    if missing := sorted(set(names.values()) - set(inputs)):
        raise InputError(f"the inputs {', '.join(missing)} are missing.")
    try:
        for index, name in names.items():
            interpreter.resize_tensor_input(index, inputs[name].shape)
        interpreter.allocate_tensors()
        for index, name in names.items():
            interpreter.set_tensor(index, inputs[name])
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"the CPU cannot run the model: {error}.") from error
    values: dict[int, Any] = {}
    for index in {
        *names,
        *(int(out) for one in model.subgraphs[0].operators for out in one.outputs),
    }:
        with suppress(ValueError):  # a loop's result that nothing reads has no value
            values[index] = interpreter.get_tensor(index)
    return values


def _ancestors(graph: GraphView) -> dict[int, set[int]]:
    """Return the operators that lead to each operator, itself included."""
    before: dict[int, set[int]] = {}
    for one in graph.operators:  # in an order in which they can run
        sources = [value.source.index for value in one.inputs if value.source is not None]
        before[one.index] = {one.index}.union(*(before[index] for index in sources))
    return before


def _drop_buffers(model: Any) -> None:
    """Empty the buffers that no operator reads any more."""
    used = set()
    for graph in model.subgraphs:
        read = {int(index) for one in graph.operators for index in one.inputs if index >= 0}
        used |= {graph.tensors[index].buffer for index in read}
    model.buffers = [
        buffer if number in used else schema.BufferT()
        for number, buffer in enumerate(model.buffers)
    ]
