"""Check the graph of a `.tflite` file before a runtime reads it.

TFLite runtimes trust a flatbuffer: an offset, a shape or a scale that is wrong ends the process, or
makes it read what lies behind the file.  This module follows every offset with checks, and then
infers the shape of every tensor, from the inputs on, as the operators' kernels do.  It knows the
operators, types, options and loops that `tflite.link` and `quantization.quantize` write, and
refuses all others.  So a file that passes has no operator of unknown behaviour, no loop of more
passes than the model has layers, and no tensor larger than the configuration calls for.

Of a file without a manifest only the flatbuffer itself is checked: offsets, indices, buffers and
the order of operators.  Whether its operators are safe on its shapes cannot be known here.

The free length T stands in shapes as a large prime, so that a dimension that depends on it can be
told from all others, whatever was multiplied or divided: `[T, 3H]` reshaped to `[-1, 3N, D]` is
`[T, 3N, D]` again.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from albert_edge.config import PRODUCTS
from albert_edge.errors import BundleError
from albert_edge.tasks import TASKS

if TYPE_CHECKING:
    from albert_edge.bundle.bundle import Bundle


_FREE = 2_147_483_647  # T of any length, a prime; no stored dimension is as large
_MAX_RANK = 5
_SCALES = (1e-15, 1e15)  # products and ratios of two of them are far from the ends of float32

# TensorType: the letter in `_OPERATORS`, the bytes of one element (half of one for int4).
_FLOAT, _HALF, _INT32, _INT64, _BOOL, _INT16, _INT8, _INT4 = 0, 1, 2, 4, 6, 7, 9, 17
_LETTERS = {
    _FLOAT: "f", _HALF: "h", _INT32: "i", _INT64: "l", _BOOL: "b", _INT16: "s", _INT8: "c",
    _INT4: "n",
}  # fmt: skip
_SIZES = {_FLOAT: 4, _HALF: 2, _INT32: 4, _INT64: 8, _BOOL: 1, _INT16: 2, _INT8: 1, _INT4: 0.5}
# Other types of foreign files: unsigned, complex and wide ones.
_OTHER_SIZES = {3: 1, 8: 8, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2, 18: 2}
_LIMITS = {_INT8: (-128, 127), _INT16: (0, 0), _INT32: (0, 0), _INT4: (0, 0)}

_I32, _U32, _U16 = struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<H")
_F32, _I64 = struct.Struct("<f"), struct.Struct("<q")
_VECTORS = [struct.Struct(f"<{count}i") for count in range(17)]
_Dims = tuple[int, ...]
_BEYOND = "a table or a vector reaches beyond the file, or is used twice."


class _Tensor:
    """A tensor as stored, and what is inferred about it.

    Attributes:
        type: The TensorType.
        shape: The stored dimensions, 1 for the free length.
        signature: The same with -1 for any length, or None.
        start: Where its constant data begin in the file; 0 for a computed tensor.
        size: How many bytes of data there are.
        scale: The only scale or the first; 0.0 without quantization.
        scales: How many scales there are.
        zero: The zero point.
        block: The tensor of a blockwise weight's scales and the block's length, or None.
        dims: The inferred shape, with `_FREE` for T; None until an operator has written it.
        value: The int32 values, where they are known.
        bounds: The least and the greatest value of an int32 tensor, where they are known.
        is_variable: Whether it keeps a state between inferences; in no file of ours.
    """

    __slots__ = (
        *("block", "bounds", "dims", "scale", "scales", "shape", "signature", "size", "start"),
        *("is_variable", "type", "value", "zero"),
    )

    type: int
    shape: _Dims
    signature: _Dims | None
    start: int
    size: int
    scale: float
    scales: int
    zero: int
    is_variable: bool
    block: tuple[int, int] | None
    dims: _Dims | None
    value: _Dims | None
    bounds: tuple[int, int] | None


class _Operator(NamedTuple):
    code: int
    inputs: _Dims
    outputs: _Dims
    options_type: int
    options: int  # where the table of options lies; 0 without


class _Graph(NamedTuple):
    name: str
    tensors: list[_Tensor]
    inputs: _Dims
    outputs: _Dims
    operators: list[_Operator]


class _Signature(NamedTuple):
    inputs: dict[str, int]
    outputs: dict[str, int]
    graph: int


class _Flatbuffer:
    """A reader of a TFLite model that checks every offset it follows.

    `struct` raises where a read goes beyond the data; offsets are never negative here.  What is
    read is counted, so that a file cannot make more of a few bytes by pointing at them many times.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.size = len(data)
        self._layouts: dict[int, _Dims] = {}
        self._left = self.size

    def table(self, at: int) -> _Dims:
        """Return where the fields of the table at `at` lie, from `at`; 0 for one left out.

        The last entry is 0 too, so that a newer field than the writer knew reads as left out.
        """
        place = at - _I32.unpack_from(self.data, at)[0]
        layout = self._layouts.get(place)
        if layout is None:
            layout = self._layouts[place] = self._layout(place)
        self._left -= layout[-1]
        if self._left < 0 or at + layout[-1] > self.size:
            raise BundleError(_BEYOND)
        return layout

    def _layout(self, place: int) -> _Dims:
        if place < 0:
            raise BundleError("a table's description lies outside the file.")
        size, table_size = struct.unpack_from("<HH", self.data, place)
        count = (size - 4) // 2
        if size < 4 or size % 2 or count > 32 or table_size < 4:
            raise BundleError("a table's description has an impossible size.")
        fields = struct.unpack_from(f"<{count}H", self.data, place + 4)
        if any(0 < field < 4 or field >= table_size for field in fields):
            raise BundleError("a field lies outside its table.")
        return (*fields, *(0,) * (16 - count), table_size)

    def vector(self, at: int, width: int) -> tuple[int, int]:
        """Return where the entries of the vector that the field at `at` points to begin, and their
        number."""
        start = at + _U32.unpack_from(self.data, at)[0]
        count: int = _U32.unpack_from(self.data, start)[0]
        size = 4 + count * width
        self._left -= size
        if self._left < 0 or start + size > self.size:
            raise BundleError(_BEYOND)
        return start + 4, count

    def integers(self, at: int, *, most: int = 4096) -> _Dims:
        # As `vector`, without a call: every shape comes by here.
        start = at + _U32.unpack_from(self.data, at)[0]
        count: int = _U32.unpack_from(self.data, start)[0]
        size = 4 + 4 * count
        self._left -= size
        if self._left < 0 or start + size > self.size:
            raise BundleError(_BEYOND)
        if count < 17:
            return _VECTORS[count].unpack_from(self.data, start + 4)
        if count > most:
            raise BundleError(f"a list of {count} numbers is too long.")
        return struct.unpack_from(f"<{count}i", self.data, start + 4)

    def tables(self, at: int) -> list[int]:
        """Return where the tables of a vector of tables lie."""
        start, count = self.vector(at, 4)
        offsets = struct.unpack_from(f"<{count}I", self.data, start)
        return [start + 4 * index + offset for index, offset in enumerate(offsets)]

    def text(self, at: int) -> str:
        start, count = self.vector(at, 1)
        end = start + count
        if end == self.size or self.data[end]:
            raise BundleError("a name is not ended by a zero byte.")
        content = self.data[start:end]
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError:
            raise BundleError(f"the name {bytes(content[:40])!r} is not UTF-8.") from None

    def field(self, table: int, layout: _Dims, slot: int, default: int = 0) -> int:
        """Return an int32 field."""
        place = layout[slot]
        return _I32.unpack_from(self.data, table + place)[0] if place else default

    def byte(self, table: int, layout: _Dims, slot: int) -> int:
        """Return a field of one byte."""
        return int(self.data[table + layout[slot]]) if layout[slot] else 0


class _Model:
    """The parts of a flatbuffer that a runtime reads, each checked by itself.

    Args:
        data: The flatbuffer.
        ours: Whether to refuse too what this project never writes.

    Attributes:
        graphs: The subgraphs.
        signatures: Their inputs and outputs by name.
    """

    def __init__(self, data: Any, *, ours: bool = True) -> None:
        self._ours = ours
        if len(data) < 8 or data[4:8] != b"TFL3":
            raise BundleError("the file identifier TFL3 is missing.")
        self.buffer = buffer = _Flatbuffer(data)
        self.root = _U32.unpack_from(data, 0)[0]
        self.layout = buffer.table(self.root)
        if self.layout[5] or any(self.layout[8:-1]):
            raise BundleError("the model keeps parts outside its flatbuffer.")
        self._codes = [self._code(at) for at in self._tables(1)]
        self._buffers = [self._data(at) for at in self._tables(4)]
        if not self._buffers or (self._buffers[0][1] and self._ours):
            raise BundleError("the first buffer must be there, and empty.")
        self.graphs = [self._graph(at) for at in self._tables(2)]
        self.metadata = [self._entry(at) for at in self._tables(6)]
        self.signatures: dict[str, _Signature] = {}
        for at in self._tables(7):
            self._sign(at)
        if not self.graphs:
            raise BundleError("there is no graph.")

    def _tables(self, slot: int) -> list[int]:
        return self.buffer.tables(self.root + self.layout[slot]) if self.layout[slot] else []

    def _code(self, at: int) -> tuple[int, int]:
        """Return an operator's code, -1 for a custom one, and its version."""
        layout = self.buffer.table(at)
        if layout[1]:
            self.buffer.text(at + layout[1])
            return -1, 1
        old, version = self.buffer.byte(at, layout, 0), self.buffer.field(at, layout, 2, 1)
        return max(old, self.buffer.field(at, layout, 3)), version

    def _data(self, at: int) -> tuple[int, int]:
        """Return where a buffer's data begin, and their size."""
        layout = self.buffer.table(at)
        if layout[1] or layout[2]:
            raise BundleError("a buffer lies outside the flatbuffer.")
        return self.buffer.vector(at + layout[0], 1) if layout[0] else (0, 0)

    def _entry(self, at: int) -> str:
        layout = self.buffer.table(at)
        if not 0 <= self.buffer.field(at, layout, 1) < len(self._buffers):
            raise BundleError("metadata lie in a buffer that does not exist.")
        return self.buffer.text(at + layout[0]) if layout[0] else ""

    def _sign(self, at: int) -> None:
        buffer, layout = self.buffer, self.buffer.table(at)
        index = buffer.field(at, layout, 4)
        if not layout[2] or not 0 <= index < len(self.graphs):
            raise BundleError("a signature has no name, or a graph that does not exist.")
        key, count = buffer.text(at + layout[2]), len(self.graphs[index].tensors)
        inputs: dict[str, int] = {}
        outputs: dict[str, int] = {}
        for side, slot in ((inputs, layout[0]), (outputs, layout[1])):
            for entry in buffer.tables(at + slot) if slot else ():
                fields = buffer.table(entry)
                tensor = buffer.field(entry, fields, 1)
                name = buffer.text(entry + fields[0]) if fields[0] else ""
                if not name or name in side or not 0 <= tensor < count:
                    raise BundleError(f"signature {key!r} is wrong at {name!r}, tensor {tensor}.")
                side[name] = tensor
        if key in self.signatures:
            raise BundleError(f"there are two signatures {key!r}.")
        self.signatures[key] = _Signature(inputs, outputs, index)

    def _graph(self, at: int) -> _Graph:
        buffer, layout = self.buffer, self.buffer.table(at)
        name = buffer.text(at + layout[4]) if layout[4] else ""
        try:
            tensors = [self._tensor(one) for one in buffer.tables(at + layout[0])]
            inputs, outputs = (buffer.integers(at + layout[slot]) for slot in (1, 2))
            operators = [self._operator(one) for one in buffer.tables(at + layout[3])]
            graph = _Graph(name, tensors, inputs, outputs, operators)
            self._check_order(graph)
        except BundleError as error:
            raise BundleError(f"graph {name!r}: {error}") from None
        return graph

    def _tensor(self, at: int) -> _Tensor:
        buffer, layout = self.buffer, self.buffer.table(at)
        tensor = _Tensor()
        tensor.type = buffer.byte(at, layout, 1)
        tensor.shape = buffer.integers(at + layout[0], most=_MAX_RANK) if layout[0] else ()
        tensor.signature = buffer.integers(at + layout[7], most=_MAX_RANK) if layout[7] else None
        index = buffer.field(at, layout, 2)
        if not 0 <= index < len(self._buffers):
            raise BundleError(f"a tensor lies in buffer {index}, which does not exist.")
        tensor.is_variable = bool(layout[5] and buffer.data[at + layout[5]])
        if tensor.is_variable and self._ours:
            raise BundleError("a tensor is a variable, which keeps a state.")
        if layout[6] or layout[9] or layout[10]:
            raise BundleError("a tensor is sparse, has variants, or lies outside the file.")
        if layout[3]:
            buffer.text(at + layout[3])
        tensor.start, tensor.size = self._buffers[index]
        tensor.dims = tensor.value = tensor.bounds = tensor.block = None
        tensor.scale, tensor.scales, tensor.zero = 0.0, 0, 0
        if tensor.size:
            self._check_constant(tensor)
        elif min(tensor.shape, default=0) < 0:
            raise BundleError(f"a tensor has the shape {list(tensor.shape)}.")
        if layout[4]:
            place = at + layout[4]
            self._quantize(tensor, place + _U32.unpack_from(buffer.data, place)[0])
        return tensor

    def _check_constant(self, tensor: _Tensor) -> None:
        size = _SIZES.get(tensor.type, _OTHER_SIZES.get(tensor.type))
        shape = tensor.shape
        if size is None:
            return  # of strings, whose bytes only their own kernels read
        expected = math.ceil(math.prod(shape) * size)
        if min(shape, default=1) < 1 or expected != tensor.size:
            raise BundleError(
                f"a constant of shape {list(shape)} has {tensor.size} bytes instead of {expected}."
            )
        tensor.dims = shape

    def _quantize(self, tensor: _Tensor, at: int) -> None:
        buffer, layout = self.buffer, self.buffer.table(at)
        if (layout[0] or layout[1]) and self._ours:
            raise BundleError("a tensor has a range, which only converters use.")
        kind = buffer.byte(at, layout, 4)
        if kind == 2 and layout[5]:
            self._quantize_blocks(tensor, at + layout[5])
        elif kind:
            raise BundleError(f"a tensor is quantized in an unknown way, {kind}.")
        if not layout[2]:
            return
        start, count = buffer.vector(at + layout[2], 4)
        if not count:
            return
        zeros, zero_count = buffer.vector(at + layout[3], 8) if layout[3] else (0, 0)
        axis = buffer.field(at, layout, 6)
        # Other tools give a bias the axis of its filter.
        rows = tensor.shape[:1] if self._ours else tensor.shape
        if (axis and self._ours) or tensor.block or count not in (1, *rows) or zero_count != count:
            raise BundleError(
                f"a tensor of shape {list(tensor.shape)} has {count} scales and {zero_count} zero "
                f"points on axis {axis}."
            )
        tensor.scales = count
        tensor.zero = _I64.unpack_from(buffer.data, zeros)[0]
        tensor.scale = _F32.unpack_from(buffer.data, start)[0]
        scales: Any = (tensor.scale,)
        if count > 1:
            scales = np.frombuffer(buffer.data, "<f4", count, start)
            if np.frombuffer(buffer.data, "<i8", count, zeros).any() and self._ours:
                raise BundleError("the zero points of the rows of a tensor are not 0.")
        # A bias has the product of two scales; kernels only compare it with that product.
        compared = tensor.type in (_INT32, _INT64) or not self._ours
        low, high = (0.0, 1e30) if compared else _SCALES
        least, greatest = (scales[0],) * 2 if count == 1 else (scales.min(), scales.max())
        if not low <= least <= greatest <= high:  # false for NaN
            raise BundleError(f"a tensor has scales from {least} to {greatest}.")
        limits = _LIMITS.get(tensor.type, (0, 255))
        if not limits[0] <= tensor.zero <= limits[1]:
            raise BundleError(f"a tensor has the zero point {tensor.zero}.")

    def _quantize_blocks(self, tensor: _Tensor, place: int) -> None:
        buffer = self.buffer
        at = place + _U32.unpack_from(buffer.data, place)[0]
        layout = buffer.table(at)
        scales, zeros = buffer.field(at, layout, 0), buffer.field(at, layout, 1)
        block = buffer.field(at, layout, 2)
        if zeros != -1 or block < 1 or len(tensor.shape) != 2 or tensor.shape[1] % block:
            raise BundleError(f"blocks of {block} do not divide rows of {list(tensor.shape)}.")
        tensor.block = scales, block

    def _operator(self, at: int) -> _Operator:
        buffer, layout = self.buffer, self.buffer.table(at)
        index = buffer.field(at, layout, 0)
        if not 0 <= index < len(self._codes):
            raise BundleError(f"an operator has the code number {index}, which does not exist.")
        inputs = buffer.integers(at + layout[1]) if layout[1] else ()
        outputs = buffer.integers(at + layout[2]) if layout[2] else ()
        code, version = self._codes[index]
        known = _OPERATORS.get(code) if self._ours else None
        if known and not 1 <= version <= known.version:
            raise BundleError(f"operator {known.name} has the version {version}.")
        if known and (layout[5] or layout[7] or layout[8] or any(layout[9:13])):
            raise BundleError(f"operator {known.name} has parts that it never has.")
        options, options_type = 0, buffer.byte(at, layout, 3)
        if layout[4] and options_type:  # of no type, runtimes do not read them
            options = at + layout[4]
            options += _U32.unpack_from(buffer.data, options)[0]
        return _Operator(code, inputs, outputs, options_type, options)

    def _check_order(self, graph: _Graph) -> None:
        """Check that every tensor is written once, before it is read."""
        count = len(graph.tensors)
        ready = {index for index, tensor in enumerate(graph.tensors) if tensor.size}
        # Left out, or a constant without elements.
        ready |= {-1, *(i for i, tensor in enumerate(graph.tensors) if 0 in tensor.shape)}
        ready |= {i for i, tensor in enumerate(graph.tensors) if tensor.is_variable}
        if ready.intersection(graph.inputs) or len(set(graph.inputs)) != len(graph.inputs):
            raise BundleError("an input is a constant, left out, or twice an input.")
        ready.update(graph.inputs)
        for number, operator in enumerate(graph.operators):
            if not ready.issuperset(operator.inputs):
                raise BundleError(f"operator {number} reads what nothing has written.")
            for index in operator.outputs:
                if index in ready or not 0 <= index < count:
                    raise BundleError(f"operator {number} writes to tensor {index}.")
                ready.add(index)
        ready.discard(-1)
        if not ready.issuperset(graph.outputs) or not all(0 <= i < count for i in graph.inputs):
            raise BundleError("an input or an output does not exist.")


class _Kernel(NamedTuple):
    """An operator that files of ours contain.

    Attributes:
        name: As in TFLite's schema.
        version: The newest version.
        options_type: The BuiltinOptions; 0 is accepted too where no option changes the result.
        types: Letters of the types read and written, such as `ff>f`; `-` for an input left out.
        infer: Returns the shape of the outputs.
    """

    name: str
    version: int
    options_type: int
    types: frozenset[str]
    infer: Callable[[_GraphCheck, _Operator], _Dims]


class _GraphCheck:
    """Infers the shapes of one subgraph."""

    def __init__(self, check: _ModelCheck, graph: _Graph) -> None:
        self.check = check
        self.graph = graph
        self.tensors = graph.tensors
        self.rows = -1  # the input of a loop's body that says which rows a pass computes

    def run(self, inputs: Sequence[_Dims], bounds: Sequence[tuple[int, int] | None]) -> None:
        """Infer all shapes, from the shapes and the ranges of the inputs."""
        graph = self.graph
        try:
            for index, dims, limits in zip(graph.inputs, inputs, bounds, strict=True):
                self.write(index, dims)
                self.tensors[index].bounds = limits
        except ValueError:
            raise BundleError(f"graph {graph.name!r} has {len(graph.inputs)} inputs.") from None
        for number, operator in enumerate(graph.operators):
            kernel = _OPERATORS.get(operator.code)
            try:
                if kernel is None:
                    raise BundleError(f"code {operator.code} is not one of this project's.")
                self._infer(kernel, operator)
            except BundleError as error:
                name = kernel.name if kernel else "?"
                raise BundleError(
                    f"graph {graph.name!r}, operator {number} ({name}): {error}"
                ) from None

    def _infer(self, kernel: _Kernel, operator: _Operator) -> None:
        tensors, letters = self.tensors, _LETTERS
        if kernel.types:
            try:
                read = [letters[tensors[i].type] if i >= 0 else "-" for i in operator.inputs]
                written = [letters[tensors[i].type] for i in operator.outputs]
            except KeyError:
                raise BundleError("its tensors have types of no file of ours.") from None
            types = f"{''.join(read)}>{''.join(written)}"
            if types not in kernel.types:
                raise BundleError(f"it has no form {types}.")
        if operator.options_type not in (kernel.options_type, 0):
            raise BundleError(f"its options are of type {operator.options_type}.")
        if operator.options_type and not operator.options:
            raise BundleError("its options are missing.")
        dims = kernel.infer(self, operator)
        for index in operator.outputs if kernel.types else ():
            self.write(index, dims)

    def write(self, index: int, dims: _Dims) -> None:
        """Note the inferred shape of a tensor, and compare it with the stored one."""
        tensor = self.tensors[index]
        stored, check = tensor.shape, self.check
        known = check.known_dims.get(dims)
        if known is None:
            known = check.known_dims[dims] = (
                tuple(1 if one == _FREE else one for one in dims),
                math.prod(check.length if one == _FREE else one for one in dims),
            )
        if stored not in (dims, known[0]):
            raise BundleError(f"tensor {index} has the shape {list(stored)}, not {_show(dims)}.")
        signature = tensor.signature
        if signature is not None and signature != stored and not check.fits(signature, stored):
            raise BundleError(f"tensor {index} has the signature {list(signature)}.")
        if tensor.size or tensor.block:
            raise BundleError(f"tensor {index} is a constant, and is computed.")
        if tensor.type in (_INT8, _INT16):
            if tensor.scales != 1:
                raise BundleError(f"tensor {index} has {tensor.scales} scales instead of one.")
        elif tensor.type in (_INT4, _INT64):
            raise BundleError(f"tensor {index} is of a type that only constants have.")
        if known[1] > check.most_elements:
            raise BundleError(f"tensor {index} would have {known[1]} elements.")
        tensor.dims = dims

    # What rules ask of a graph.

    def dims(self, operator: _Operator, place: int) -> _Dims:
        dims = self.tensors[operator.inputs[place]].dims
        if dims is None:
            raise BundleError(f"input {place} is not computed.")
        return dims

    def is_computed(self, operator: _Operator, place: int) -> bool:
        """Return whether the values of an input are known only when the model runs."""
        tensor = self.tensors[operator.inputs[place]]
        return tensor.value is None and not tensor.size

    def values(self, operator: _Operator, place: int, *, most: int = 16) -> _Dims:
        """Return the int32 values of an input that says how to compute, `most` at most."""
        tensor = self.tensors[operator.inputs[place]]
        if tensor.value is None:
            if tensor.shape == (0,):
                return ()
            if not tensor.size or tensor.size > 4 * most:
                raise BundleError(f"input {place} is not a short constant.")
            tensor.value = struct.unpack_from(
                f"<{tensor.size // 4}i", self.check.data, tensor.start
            )
        return tensor.value

    def bounds(self, operator: _Operator, place: int) -> tuple[int, int]:
        """Return the least and the greatest value of an int32 input."""
        tensor = self.tensors[operator.inputs[place]]
        if tensor.bounds is None:
            if not tensor.size:
                return _NO_BOUNDS
            data = np.frombuffer(self.check.data, "<i4", tensor.size // 4, tensor.start)
            tensor.bounds = int(data.min()), int(data.max())
        return tensor.bounds

    def limit(self, operator: _Operator, low: int, high: int) -> None:
        """Note the range of an operator's int32 output."""
        if -(2**31) <= low <= high < 2**31:
            self.tensors[operator.outputs[0]].bounds = low, high

    def byte(self, operator: _Operator, slot: int) -> int:
        """Return an option of one byte."""
        if not operator.options:
            return 0
        layout = self.check.buffer.table(operator.options)
        return self.check.buffer.byte(operator.options, layout, slot)

    def option(self, operator: _Operator, slot: int) -> int:
        """Return an int32 option."""
        if not operator.options:
            return 0
        layout = self.check.buffer.table(operator.options)
        return self.check.buffer.field(operator.options, layout, slot)


_NO_BOUNDS = (-(2**31), 2**31 - 1)


def _show(dims: Sequence[int]) -> str:
    return f"[{', '.join('T' if one == _FREE else str(one) for one in dims)}]"


# What operators make of shapes.  A rule returns the shape of the outputs.


def _same(graph: _GraphCheck, operator: _Operator) -> _Dims:
    return graph.dims(operator, 0)


def _broadcast(graph: _GraphCheck, operator: _Operator) -> _Dims:
    shapes = [graph.dims(operator, place) for place in range(len(operator.inputs))]
    first, second = shapes[-2:]
    dims = _broadcast_two(first, second)
    for other in shapes[:-2]:
        dims = _broadcast_two(dims, other)
    return dims


def _broadcast_two(first: _Dims, second: _Dims) -> _Dims:
    if first == second:
        return first
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    shorter = (1,) * (len(longer) - len(shorter)) + shorter
    if not all(a == b or a == 1 or b == 1 for a, b in zip(longer, shorter, strict=True)):
        raise BundleError(f"{_show(first)} and {_show(second)} do not fit together.")
    return tuple(b if a == 1 else a for a, b in zip(longer, shorter, strict=True))


def _add(graph: _GraphCheck, operator: _Operator) -> _Dims:
    if graph.byte(operator, 0) not in (0, 1):  # none or ReLU
        raise BundleError(f"its activation is {graph.byte(operator, 0)}.")
    tensors = graph.tensors
    first, second, out = (tensors[index] for index in (*operator.inputs, operator.outputs[0]))
    if first.type == _INT32:
        _bound_sum(graph, operator)
    elif first.type in (_INT8, _INT16):
        # The kernels shift the larger scale by so many bits, and end the process unless it is then
        # finer than the result's.
        shift = 20 if first.type == _INT8 else 15
        if not 2 * max(first.scale, second.scale) < 2**shift * out.scale:
            raise BundleError(f"its result's scale {out.scale} is too small.")
    return _broadcast(graph, operator)


def _bound_sum(graph: _GraphCheck, operator: _Operator) -> None:
    first, second = graph.bounds(operator, 0), graph.bounds(operator, 1)
    if operator.code == _SUB:
        second = (-second[1], -second[0])
    graph.limit(operator, first[0] + second[0], first[1] + second[1])


def _multiply(graph: _GraphCheck, operator: _Operator) -> _Dims:
    if graph.byte(operator, 0) not in (0, 1):
        raise BundleError(f"its activation is {graph.byte(operator, 0)}.")
    if graph.tensors[operator.inputs[0]].type == _INT32:
        pairs = (graph.bounds(operator, 0), graph.bounds(operator, 1))
        ends = [a * b for a in pairs[0] for b in pairs[1]]
        graph.limit(operator, min(ends), max(ends))
    _check_multiplier(graph, operator)
    return _broadcast(graph, operator)


def _minimum(graph: _GraphCheck, operator: _Operator) -> _Dims:
    if graph.tensors[operator.inputs[0]].type != _INT32:
        return _broadcast(graph, operator)
    first, second = graph.bounds(operator, 0), graph.bounds(operator, 1)
    graph.limit(operator, min(first[0], second[0]), min(first[1], second[1]))
    return _broadcast(graph, operator)


def _check_multiplier(graph: _GraphCheck, operator: _Operator) -> None:
    """Check that a result's scale is not much smaller than those it is computed from."""
    tensors = graph.tensors
    out = tensors[operator.outputs[0]]
    if out.type not in (_INT8, _INT16):
        return
    scale = 1.0
    for index in operator.inputs[:2]:
        scale *= tensors[index].scale or 1.0
    if not scale < 2**30 * out.scale:
        raise BundleError(f"its result's scale {out.scale} is too small.")


def _requantize(graph: _GraphCheck, operator: _Operator) -> _Dims:
    source = graph.tensors[operator.inputs[0]]
    if source.type in (_INT8, _INT16) and source.scales != 1:
        raise BundleError(f"it reads a tensor of {source.scales} scales.")
    _check_multiplier(graph, operator)
    return graph.dims(operator, 0)


def _cast(graph: _GraphCheck, operator: _Operator) -> _Dims:
    if graph.tensors[operator.inputs[0]].type == _BOOL:
        graph.limit(operator, 0, 1)
    return graph.dims(operator, 0)


def _reduce(graph: _GraphCheck, operator: _Operator) -> _Dims:
    dims, axes = graph.dims(operator, 0), graph.values(operator, 1)
    if len(axes) != 1 or not -len(dims) <= axes[0] < len(dims):
        raise BundleError(f"it has no axis {list(axes)} in {_show(dims)}.")
    _check_multiplier(graph, operator)
    axis = axes[0] % len(dims)
    kept = (1,) if operator.code != _ARG_MAX and graph.byte(operator, 0) else ()
    if operator.code == _ARG_MAX:
        if graph.byte(operator, 0) != _INT32:
            raise BundleError("its result is not int32.")
        graph.limit(operator, 0, graph.check.length if dims[axis] == _FREE else dims[axis])
    elif graph.tensors[operator.inputs[0]].type == _INT32:
        graph.limit(operator, *graph.bounds(operator, 0))
    return dims[:axis] + kept + dims[axis + 1 :]


def _multiply_matrix(graph: _GraphCheck, operator: _Operator) -> _Dims:
    values, weight = graph.dims(operator, 0), graph.dims(operator, 1)
    if len(values) != 2 or len(weight) != 2 or values[1] != weight[1] or _FREE in weight:
        raise BundleError(f"it multiplies {_show(values)} by {_show(weight)}, transposed.")
    rows = weight[0]
    if len(operator.inputs) == 3 and operator.inputs[2] >= 0:
        bias = graph.dims(operator, 2)
        if bias != (rows,):
            raise BundleError(f"it adds {_show(bias)} to {rows} columns.")
    if operator.options_type == 0:
        raise BundleError("its options are missing.")
    layout = graph.check.buffer.table(operator.options)
    activation, form, kept = (
        graph.check.buffer.byte(operator.options, layout, i) for i in range(3)
    )
    if activation not in (0, 1) or form or kept:
        raise BundleError("its options are not this project's.")
    _check_weight(graph, operator, rows)
    return values[0], rows


def _check_weight(graph: _GraphCheck, operator: _Operator, rows: int) -> None:
    tensors = graph.tensors
    read, weight, out = (tensors[i] for i in (*operator.inputs[:2], operator.outputs[0]))
    if weight.type not in (_INT8, _INT4):
        return
    if not weight.size:
        raise BundleError("its quantized weight is not a constant.")
    if weight.block:
        _check_blocks(graph, weight)
    elif weight.scales not in (1, rows):
        raise BundleError(f"its weight of {rows} rows has {weight.scales} scales.")
    bias = operator.inputs[2] if len(operator.inputs) == 3 else -1
    if read.type in (_INT8, _INT16):
        _check_multiplier(graph, operator)
        if bias >= 0 and tensors[bias].scales not in (weight.scales, 1):
            raise BundleError(f"its bias has {tensors[bias].scales} scales.")
        if read.scales != 1 or out.scales != 1:
            raise BundleError("its values have more than one scale.")


def _check_blocks(graph: _GraphCheck, weight: _Tensor) -> None:
    index, block = weight.block or (-1, 0)
    scales = graph.tensors[index] if 0 <= index < len(graph.tensors) else None
    shape = (weight.shape[0], weight.shape[1] // max(block, 1))
    if scales is None or scales.type != _HALF or scales.shape != shape or not scales.size:
        raise BundleError(f"its weight's blocks of {block} have no scales.")
    if block < 1 or block % 32:
        raise BundleError(f"its weight has blocks of {block}.")
    data = np.frombuffer(graph.check.data, "<f2", scales.size // 2, scales.start)
    least, greatest = data.min(), data.max()
    if not 0 < least <= greatest < np.inf:
        raise BundleError(f"its weight has scales from {least} to {greatest}.")


def _multiply_batches(graph: _GraphCheck, operator: _Operator) -> _Dims:
    first, second = graph.dims(operator, 0), graph.dims(operator, 1)
    if graph.byte(operator, 0) or graph.byte(operator, 2):
        raise BundleError("its options are not this project's.")
    if graph.byte(operator, 1):
        second = (*second[:-2], *second[:-3:-1])
    ranks = {len(first), len(second)}
    if ranks not in ({3}, {4}) or first[:-2] != second[:-2] or first[-1] != second[-2]:
        raise BundleError(f"it multiplies {_show(first)} by {_show(second)}.")
    _check_multiplier(graph, operator)
    return (*first[:-1], second[-1])


def _softmax(graph: _GraphCheck, operator: _Operator) -> _Dims:
    layout = graph.check.buffer.table(operator.options) if operator.options else ()
    place = layout[0] if layout else 0
    beta = _F32.unpack_from(graph.check.data, operator.options + place)[0] if place else 0.0
    if beta != 1:
        raise BundleError(f"its beta is {beta} instead of 1.")
    read = graph.tensors[operator.inputs[0]]
    # The kernel ends the process on a scale that is finer.
    if read.type == _INT8 and read.scale * 2**26 <= 1:
        raise BundleError(f"its input's scale {read.scale} is too small.")
    dims = graph.dims(operator, 0)
    if not dims:
        raise BundleError("its input has no axis.")
    return dims


def _reshape(graph: _GraphCheck, operator: _Operator) -> _Dims:
    dims, wanted = graph.dims(operator, 0), graph.values(operator, 1)
    count, known = math.prod(dims), math.prod(one for one in wanted if one != -1)
    if wanted.count(-1) > 1 or min(wanted, default=1) < -1 or not known or len(wanted) > _MAX_RANK:
        raise BundleError(f"it makes {_show(wanted)} of {_show(dims)}.")
    rest, over = divmod(count, known)
    if over or (-1 not in wanted and rest != 1) or (rest > 2**31 and rest % _FREE):
        raise BundleError(f"it makes {_show(wanted)} of {_show(dims)}.")
    source, out = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    out.value, out.bounds = source.value, source.bounds
    return tuple(rest if one == -1 else one for one in wanted)


def _transpose(graph: _GraphCheck, operator: _Operator) -> _Dims:
    dims, order = graph.dims(operator, 0), graph.values(operator, 1)
    if sorted(order) != list(range(len(dims))):
        raise BundleError(f"{list(order)} does not order the axes of {_show(dims)}.")
    return tuple(dims[axis] for axis in order)


def _split(graph: _GraphCheck, operator: _Operator) -> _Dims:
    axes, dims = graph.values(operator, 0), graph.dims(operator, 1)
    count = graph.option(operator, 0)
    if len(axes) != 1 or not -len(dims) <= axes[0] < len(dims):
        raise BundleError(f"it has no axis {list(axes)} in {_show(dims)}.")
    axis = axes[0] % len(dims)
    if count != len(operator.outputs) or count < 1 or dims[axis] % count or dims[axis] == _FREE:
        raise BundleError(f"it makes {count} parts of axis {axis} of {_show(dims)}.")
    return (*dims[:axis], dims[axis] // count, *dims[axis + 1 :])


def _concatenate(graph: _GraphCheck, operator: _Operator) -> _Dims:
    first, second = graph.dims(operator, 0), graph.dims(operator, 1)
    axis = graph.option(operator, 0)
    if graph.byte(operator, 1) or not -len(first) <= axis < len(first):
        raise BundleError("its options are not this project's.")
    axis %= len(first)
    rest = [(*one[:axis], 0, *one[axis + 1 :]) for one in (first, second)]
    if rest[0] != rest[1] or _FREE in (first[axis], second[axis]):
        raise BundleError(f"it joins {_show(first)} and {_show(second)} along axis {axis}.")
    return (*first[:axis], first[axis] + second[axis], *first[axis + 1 :])


def _slice(graph: _GraphCheck, operator: _Operator) -> _Dims:
    dims = graph.dims(operator, 0)
    if operator.inputs[0] == graph.rows:
        return dims  # of the next pass; `run_loop` checks the last one's
    begins, sizes = graph.values(operator, 1), graph.values(operator, 2)
    if not len(dims) == len(begins) == len(sizes):
        raise BundleError(f"it cuts {list(begins)}, {list(sizes)} out of {_show(dims)}.")
    result = []
    for size, begin, wanted in zip(dims, begins, sizes, strict=True):
        wanted = size - begin if wanted == -1 else wanted
        least = 1 if size == _FREE else size  # as many as any text has
        if begin < 0 or wanted < 1 or (begin + wanted > least and (begin or wanted != size)):
            raise BundleError(f"it cuts {list(begins)}, {list(sizes)} out of {_show(dims)}.")
        result.append(wanted)
    return tuple(result)


def _strided_slice(graph: _GraphCheck, operator: _Operator) -> _Dims:
    dims = graph.dims(operator, 0)
    begins, ends, strides = (graph.values(operator, place) for place in (1, 2, 3))
    if not len(dims) == len(begins) == len(ends) == len(strides) or set(strides) - {1}:
        raise BundleError(f"it takes {list(strides)}th elements of {_show(dims)}.")
    first, last, dots, new, dropped = (graph.option(operator, slot) for slot in range(5))
    if dots or new or graph.byte(operator, 5):
        raise BundleError("its options are not this project's.")
    result = []
    for axis, size in enumerate(dims):
        begin = 0 if first >> axis & 1 else begins[axis]
        end = size if last >> axis & 1 else ends[axis]
        if dropped >> axis & 1:
            end = begin + 1
        if end == _FREE and size != _FREE and not begin:  # as many as the text has
            if size < graph.check.length:
                raise BundleError(f"it takes T elements of {size}.")
        elif not 0 <= begin < end <= size or (size == _FREE and end != size):
            raise BundleError(f"it takes {begin} to {end} of {size}.")
        if not dropped >> axis & 1:
            result.append(end - begin)
    source, out = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if source.value is not None and len(dims) == 1:
        begin = 0 if first & 1 else begins[0]
        out.value = source.value[begin : begin + (result[0] if result else 1)]
    elif source.type == _INT32:
        graph.limit(operator, *graph.bounds(operator, 0))
    return tuple(result)


def _range(graph: _GraphCheck, operator: _Operator) -> _Dims:
    begin, end, step = (graph.values(operator, place) for place in range(3))
    if begin != (0,) or step != (1,) or len(end) != 1 or end[0] < 1:
        raise BundleError(f"it counts from {list(begin)} to {list(end)} by {list(step)}.")
    graph.limit(operator, 0, end[0] - 1)
    return end


def _shape(graph: _GraphCheck, operator: _Operator) -> _Dims:
    if graph.byte(operator, 0) not in (0, _INT32):
        raise BundleError("its result is not int32.")
    dims = graph.dims(operator, 0)
    graph.tensors[operator.outputs[0]].value = dims
    return (len(dims),)


def _gather(graph: _GraphCheck, operator: _Operator) -> _Dims:
    table, rows = graph.dims(operator, 0), graph.dims(operator, 1)
    if graph.option(operator, 0) or graph.option(operator, 1):
        raise BundleError("its options are not this project's.")
    _check_rows(graph, operator, 1, table)
    stored, out = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if stored.type in (_INT8, _INT16) and (stored.scales != 1 or stored.scale != out.scale):
        raise BundleError("its result has other scales than its table.")
    return (*rows, *table[1:])


def _look_up(graph: _GraphCheck, operator: _Operator) -> _Dims:
    rows, table = graph.dims(operator, 0), graph.dims(operator, 1)
    if len(rows) != 1 or len(table) != 2:
        raise BundleError(f"it looks up {_show(rows)} in {_show(table)}.")
    _check_rows(graph, operator, 0, table)
    stored = graph.tensors[operator.inputs[1]]
    if stored.block:
        _check_blocks(graph, stored)
    elif stored.scales not in (1, table[0]):
        raise BundleError(f"its table of {table[0]} rows has {stored.scales} scales.")
    return rows[0], table[1]


def _check_rows(graph: _GraphCheck, operator: _Operator, place: int, table: _Dims) -> None:
    low, high = graph.bounds(operator, place)
    if not table or not 0 <= low <= high < table[0]:
        raise BundleError(f"it looks up rows {low} to {high} of {_show(table)}.")


def _while(graph: _GraphCheck, operator: _Operator) -> _Dims:
    graph.check.run_loop(graph, operator)
    return ()


_ADD, _SUB, _MUL, _LESS, _WHILE, _ARG_MAX = 0, 41, 18, 58, 119, 56
_GATHER, _RESHAPE, _SLICE = 36, 22, 65
_FORMS = {
    # code: (name, newest version, type of options, types, rule)
    _ADD: ("ADD", 2, 11, "ff>f ii>i ss>s cc>c", _add),
    _SUB: ("SUB", 5, 28, "ff>f ii>i ss>s cc>c", _add),
    _MUL: ("MUL", 4, 21, "ff>f ii>i ss>s cc>c", _multiply),
    _ARG_MAX: ("ARG_MAX", 1, 40, "fi>i", _reduce),
    126: ("BATCH_MATMUL", 3, 101, "ff>f ss>s cc>c", _multiply_batches),
    53: ("CAST", 1, 37, "b>i h>f", _cast),
    2: ("CONCATENATION", 1, 10, "ff>f", _concatenate),
    6: ("DEQUANTIZE", 3, 38, "c>f h>f s>f", _requantize),
    7: ("EMBEDDING_LOOKUP", 4, 0, "in>f ic>f if>f", _look_up),
    71: ("EQUAL", 1, 53, "ii>b", _broadcast),
    9: (
        "FULLY_CONNECTED",
        12,
        8,
        (
            "fff>f ff>f ff->f fc->f fcf>f fc>f fnf>f fn->f fn>f ccc>c ccl>c cci>c cc>c cc->c "
            "sci>s scl>s sc>s sc->s"
        ),
        _multiply_matrix,
    ),
    _GATHER: ("GATHER", 4, 23, "fi>f ci>c si>s hi>h ii>i", _gather),
    150: ("GELU", 2, 116, "f>f c>c s>s", _same),
    _LESS: ("LESS", 1, 41, "ff>b ii>b", _broadcast),
    86: ("LOGICAL_AND", 1, 62, "bb>b", _broadcast),
    14: ("LOGISTIC", 1, 0, "f>f", _same),
    40: ("MEAN", 3, 27, "fi>f si>s", _reduce),
    55: ("MAXIMUM", 1, 39, "ff>f", _broadcast),
    57: ("MINIMUM", 1, 39, "ff>f ii>i", _minimum),
    114: ("QUANTIZE", 3, 89, "c>s f>c f>s s>c s>s c>c", _requantize),
    96: ("RANGE", 1, 73, "iii>i", _range),
    82: ("REDUCE_MAX", 1, 27, "fi>f ii>i", _reduce),
    89: ("REDUCE_MIN", 1, 27, "fi>f ii>i", _reduce),
    19: ("RELU", 2, 0, "f>f c>c s>s", _requantize),
    _RESHAPE: ("RESHAPE", 1, 17, "fi>f ii>i si>s ci>c", _reshape),
    76: ("RSQRT", 3, 0, "f>f s>s", _same),
    123: ("SELECT_V2", 1, 98, "bff>f", _broadcast),
    77: ("SHAPE", 1, 55, "i>i f>i c>i s>i", _shape),
    _SLICE: ("SLICE", 4, 48, "fii>f sii>s cii>c iii>i", _slice),
    25: ("SOFTMAX", 3, 9, "f>f c>c s>s", _softmax),
    49: ("SPLIT", 4, 35, "if>ff if>fff ic>cc ic>ccc is>ss is>sss", _split),
    92: ("SQUARE", 1, 66, "f>f", _same),
    99: ("SQUARED_DIFFERENCE", 1, 76, "ff>f", _broadcast),
    45: ("STRIDED_SLICE", 4, 32, "fiii>f iiii>i ciii>c siii>s", _strided_slice),
    28: ("TANH", 3, 0, "f>f s>s c>c", _same),
    39: ("TRANSPOSE", 4, 26, "fi>f ci>c si>s", _transpose),
    _WHILE: ("WHILE", 1, 93, "", _while),
}
_OPERATORS = {
    code: _Kernel(name, version, kind, frozenset(types.split()), rule)
    for code, (name, version, kind, types, rule) in _FORMS.items()
}


class _ModelCheck:
    """Infers the shapes of a whole model, and compares its signatures with the manifest."""

    def __init__(self, model: _Model, data: Any, bundle: Bundle) -> None:
        config = bundle.config
        self.model, self.data, self.bundle = model, data, bundle
        self.buffer = model.buffer
        self.length = bundle.seq_len or config.max_position_embeddings
        self._tokens = bundle.seq_len or _FREE
        self._left = _passes_of_groups(bundle)  # loops that main has yet to run
        self._used: set[int] = set()
        # Inferred shapes: as they are stored, and the number of elements at the longest text.
        self.known_dims: dict[_Dims, tuple[_Dims, int]] = {}
        self._fitting: set[tuple[_Dims, _Dims]] = set()
        width = max(
            *(3 * config.hidden_size, config.intermediate_size, config.embedding_size),
            *(config.num_attention_heads * self.length, config.num_labels),
            config.num_hidden_layers * config.num_labels if bundle.early_exit else 0,
        )
        if "predictions/dense/kernel" in TASKS[bundle.task].head:
            width = max(width, config.vocab_size)
        weights = (
            config.hidden_size * max(3 * config.hidden_size, config.intermediate_size),
            config.embedding_size * max(config.vocab_size, config.max_position_embeddings),
            config.num_hidden_layers * config.num_labels * config.hidden_size,
        )
        # Of one tensor: a value of any layer, or a weight that is converted to float32.
        self.most_elements = min(max(self.length * width, *weights), _MOST_ELEMENTS)

    def run(self) -> None:
        bundle, model = self.bundle, self.model
        names = signature_names(bundle)
        longest = f"serving_{bundle.seq_len}"
        same = model.signatures.get(longest) == model.signatures.get("serving_default")
        if len(bundle.seq_lens) > 1 and not same:
            raise BundleError(f"its signatures {longest} and serving_default differ.")
        if set(names) != set(model.signatures):
            missing = [name for name in names if name not in model.signatures]
            raise BundleError(
                f"the model contradicts its layout {bundle.layout!r}: it has no signature "
                f"{', '.join(missing) or 'but ' + ', '.join(names)}, only "
                f"{', '.join(model.signatures) or 'none'}."
            )
        for name in names:
            length = name.removeprefix("serving_")
            if length.isdigit():
                self._tokens = int(length)
            if len(bundle.seq_lens) == 1 or name != longest:
                self._run_signature(name, model.signatures[name])
        del self._main  # a cycle, which would keep the file's mapping until it is collected
        if any(self._left):
            raise BundleError("the model makes fewer passes than its configuration says.")
        if len(self._used) != len(model.graphs):
            raise BundleError("the model has graphs that nothing runs.")

    def fits(self, signature: _Dims, stored: _Dims) -> bool:
        """Return whether a shape with -1 for any length is that of a stored shape."""
        pair = (signature, stored)
        if pair not in self._fitting:
            same = len(signature) == len(stored)
            if not same or any(a not in (b, -1) for a, b in zip(signature, stored, strict=True)):
                return False
            self._fitting.add(pair)
        return True

    def _run_signature(self, name: str, signature: _Signature) -> None:
        graph = self._take(signature.graph)
        dims, bounds = self._inputs_of(name)
        if set(signature.inputs) != set(dims):
            raise BundleError(
                f"the model contradicts its seq_len {self.bundle.seq_len} or its early_exit: "
                f"{name} has inputs {', '.join(signature.inputs)}, not {', '.join(sorted(dims))}."
            )
        places = {index: key for key, index in signature.inputs.items()}
        if len(places) != len(graph.inputs) or set(places) != set(graph.inputs):
            raise BundleError(f"signature {name!r} does not name the inputs of its graph.")
        for key, index in signature.inputs.items():
            if _LETTERS.get(graph.tensors[index].type) not in _INPUT_TYPES.get(key, ("i",)):
                raise BundleError(f"input {key!r} has another type.")
        stored = graph.tensors[signature.inputs.get("input_ids", 0)].shape
        if self.bundle.seq_len and "input_ids" in dims and stored != dims["input_ids"]:
            raise BundleError(
                f"the model contradicts its seq_len {self._tokens}: its input_ids are "
                f"{list(stored)}."
            )
        keys = [places[index] for index in graph.inputs]
        self._main = _GraphCheck(self, graph)
        self._main.run([dims[key] for key in keys], [bounds.get(key) for key in keys])
        self._check_outputs(name, signature, graph)

    def _take(self, index: int) -> _Graph:
        if index in self._used or not 0 <= index < len(self.model.graphs):
            raise BundleError(f"graph {index} does not exist, or is used twice.")
        self._used.add(index)
        return self.model.graphs[index]

    def _inputs_of(self, name: str) -> tuple[dict[str, _Dims], dict[str, tuple[int, int]]]:
        """Return the shapes and the ranges of what a signature takes."""
        bundle, tokens = self.bundle, self._tokens
        padded = bundle.seq_len is not None
        if (step := host_steps(bundle).get(name)) is not None:
            return {key: (tokens, width) for key, width in step[0].items()}, {}
        if not name.startswith("serving_") and name != "embed":
            dims: dict[str, _Dims] = {"hidden_states": (tokens, bundle.config.hidden_size)}
            if padded and name.startswith("layer"):
                dims["attention_bias"] = (1, tokens)
            return dims, {}
        dims = {"input_ids": (1, tokens), "token_type_ids": (1, tokens)}
        bounds = {
            "input_ids": (0, bundle.config.vocab_size - 1),
            "token_type_ids": (0, bundle.config.type_vocab_size - 1),
        }
        if padded:
            dims["attention_mask"], bounds["attention_mask"] = (1, tokens), (0, 1)
        if bundle.early_exit and bundle.layout == "loop":
            dims |= dict.fromkeys(("patience", "threshold", "max_layers"), (1,))
        return dims, bounds

    def _check_outputs(self, name: str, signature: _Signature, graph: _Graph) -> None:
        expected = output_shapes(self.bundle, name, self._tokens)
        found = {key: graph.tensors[index] for key, index in signature.outputs.items()}
        if set(signature.outputs.values()) != set(graph.outputs):
            raise BundleError(f"signature {name!r} does not name the outputs of its graph.")
        if set(found) | {"pooler_output"} != set(expected) | {"pooler_output"}:
            raise BundleError(
                f"the model contradicts its task {self.bundle.task!r}: {name} returns "
                f"{', '.join(found)}, not {', '.join(expected)}."
            )
        for key, tensor in found.items():
            types = ("i",) if key == "layers_used" else _INPUT_TYPES.get(key, ("f",))
            if tensor.dims != expected.get(key) or _LETTERS[tensor.type] not in types:
                raise BundleError(
                    f"output {key!r} of {name} has the shape {_show(tensor.dims or ())} instead "
                    f"of {_show(expected.get(key, ()))}, or another type."
                )

    def run_loop(self, main: _GraphCheck, operator: _Operator) -> None:
        """Check a WHILE: `pass = 0; while pass < limit: ...; pass = pass + 1`."""
        if main is not self._main or not self._left or not operator.options_type:
            raise BundleError("it is not one of the loops over the layers.")
        passes = self._left.pop(0)
        condition, body = (
            _GraphCheck(self, self._take(main.option(operator, slot))) for slot in (0, 1)
        )
        dims = [main.dims(operator, place) for place in range(len(operator.inputs))]
        self._check_variables(main, operator, condition.graph, body.graph)
        first = main.tensors[operator.inputs[0]]
        if dims[0] != () or main.values(operator, 0) != (0,) or first.type != _INT32:
            raise BundleError("it does not begin with pass 0.")
        limit = self._limit(main, operator, condition, passes)
        bounds: list[tuple[int, int] | None] = [None] * len(dims)
        condition.run(dims, bounds)
        bounds[0] = (0, passes - 1)
        if limit is not None:
            bounds[limit] = (0, passes)
        rows = None if limit is not None else self._find_rows(body, passes)
        if rows is not None:
            body.rows = body.graph.inputs[rows]
            bounds[rows] = main.bounds(operator, rows)
        body.run(dims, bounds)
        self._check_body(body, dims, limit, passes)
        if rows is not None:  # once more for the last pass, of one row
            dims[rows] = (1,)
            body.run(dims, bounds)
            dims = [body.tensors[index].dims or () for index in body.graph.outputs]
        for index, one, inner in zip(operator.outputs, dims, body.graph.outputs, strict=True):
            main.write(index, one)
            main.tensors[index].bounds = body.tensors[inner].bounds  # one pass runs at least

    def _find_rows(self, body: _GraphCheck, passes: int) -> int | None:
        """Return the variable that says which rows a pass computes, if there is one.

        It is followed by itself, and in the last pass but one by its first element.
        """
        graph = body.graph
        makers = {one.outputs[0]: one for one in graph.operators}
        cuts = [one for one in graph.operators if one.code == _SLICE and body.is_computed(one, 2)]
        if not cuts:
            return None
        count = makers.get(cuts[0].inputs[2])
        number = makers.get(count.inputs[1]) if count and count.code == _GATHER else None
        made = cuts[0].outputs[0]
        variable = graph.outputs.index(made) if made in graph.outputs and len(cuts) == 1 else 0
        if (
            (count is None or number is None or number.code != _RESHAPE)
            or (number.inputs[0] != graph.inputs[0] or cuts[0].inputs[0] != graph.inputs[variable])
            or (body.values(cuts[0], 1) != (0,))
            or (body.values(count, 0, most=passes) != (-1,) * (passes - 2) + (1, 1))
        ):
            raise BundleError("it does not compute all rows in all passes but the last.")
        return variable

    def _check_variables(
        self, main: _GraphCheck, operator: _Operator, condition: _Graph, body: _Graph
    ) -> None:
        def types(graph: _Graph, indices: _Dims) -> list[tuple[int, float, int]]:
            found = [graph.tensors[index] for index in indices]
            return [(one.type, one.scale, one.zero) for one in found]

        read = types(main.graph, operator.inputs)
        written = types(main.graph, operator.outputs)
        inner = (types(condition, condition.inputs), types(body, body.inputs))
        if not read or any(one != read for one in (written, *inner, types(body, body.outputs))):
            raise BundleError("its graphs do not read and write what it does.")

    def _limit(
        self, main: _GraphCheck, operator: _Operator, condition: _GraphCheck, passes: int
    ) -> int | None:
        """Check the condition; return which variable limits the passes, None for a constant."""
        graph = condition.graph
        if len(graph.operators) != 1 or graph.operators[0].code != _LESS:
            raise BundleError("its condition is not one comparison.")
        less = graph.operators[0]
        if graph.outputs != less.outputs or less.inputs[:1] != graph.inputs[:1]:
            raise BundleError("its condition does not compare the pass.")
        if len(less.inputs) == 2 and less.inputs[1] in graph.inputs:
            limit = graph.inputs.index(less.inputs[1])
            first = main.values(operator, limit)
        else:
            limit, first = None, condition.values(less, 1) if len(less.inputs) == 2 else ()
        if first != (passes,) or (limit is not None and not self.bundle.early_exit):
            raise BundleError(f"it is limited to {list(first)} passes instead of {passes}.")
        return limit

    def _check_body(
        self, body: _GraphCheck, dims: list[_Dims], limit: int | None, passes: int
    ) -> None:
        graph = body.graph
        written = [graph.tensors[index] for index in graph.outputs]
        if [one.dims for one in written] != dims:
            raise BundleError("its variables change their shapes.")
        step = [one for one in graph.operators if one.outputs == graph.outputs[:1]]
        if not step or step[0].code != _ADD or step[0].inputs[0] != graph.inputs[0]:
            raise BundleError("it does not count its passes.")
        if body.values(step[0], 1) != (1,):
            raise BundleError("it does not count its passes by one.")
        if limit is not None:
            low, high = written[limit].bounds or _NO_BOUNDS
            if low < 0 or high > passes:
                raise BundleError("it can be made to go on for ever.")


_MOST_ELEMENTS = 2**28  # 1 GiB of float32, whatever the configuration says
_INPUT_TYPES = {
    "hidden_states": ("f", "s"),
    "attention_bias": ("f", "s", "c"),
    "threshold": ("f",),
    "codes": ("c",),
    "scale": ("f",),
}


def _passes_of_groups(bundle: Bundle) -> list[int]:
    """Return the passes of each loop, in order."""
    if bundle.layout != "loop":
        return []
    config = bundle.config
    return [config.passes_of_group(group) for group in range(config.num_hidden_groups)]


def layer_names(bundle: Bundle) -> list[str]:
    """Return the signature of every pass: `layer`, or `layer_<group>` for several groups."""
    config = bundle.config
    if config.num_hidden_groups == 1:
        return ["layer"] * config.num_hidden_layers
    return [f"layer_{config.group_of_layer(i)}" for i in range(config.num_hidden_layers)]


def signature_names(bundle: Bundle) -> list[str]:
    """Return the signatures that a file of this layout has."""
    if bundle.layout != "split":
        lengths = bundle.seq_lens if len(bundle.seq_lens) > 1 else ()
        return ["serving_default", *(f"serving_{length}" for length in lengths)]
    layers = host_steps(bundle) or dict.fromkeys(layer_names(bundle))
    names = ["embed", *layers, "head"]
    return names + (["exit"] if bundle.early_exit else [])


def host_steps(bundle: Bundle) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """Return the steps between the products of a host graph; nothing for a file without products.

    Returns:
        The name of a signature → what it takes, and what it returns: names → channels.
    """
    config = bundle.config
    hidden = {"hidden_states": config.hidden_size}
    steps: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    sizes = config.product_sizes() if bundle.products else {}
    for group in range(config.num_hidden_groups) if sizes else ():
        for index in range(config.inner_group_num):
            prefix = config.product_prefix(group, index)
            read, made = (
                [{"codes": sizes[prefix + name][side], "scale": 1} for name in PRODUCTS]
                for side in (0, 1)
            )
            own = (
                (hidden, read[0]),
                (made[0], read[1]),
                (hidden | made[1], hidden | read[2]),
                (made[2], read[3]),
                (hidden | made[3], hidden),
            )
            names = (*PRODUCTS, "layer_output")
            steps |= {prefix + name: step for name, step in zip(names, own, strict=True)}
    return steps


def output_shapes(bundle: Bundle, name: str, tokens: int) -> dict[str, _Dims]:
    """Return the shapes of what a signature returns for an input of so many tokens."""
    config = bundle.config
    hidden, labels = config.hidden_size, config.num_labels
    if (step := host_steps(bundle).get(name)) is not None:
        return {key: (tokens, width) for key, width in step[1].items()}
    if name == "exit":
        width = TASKS[bundle.task].head_width(labels)
        rows = tokens if TASKS[bundle.task].per_token else 1
        return {"exits": (rows, (config.num_hidden_layers - 1) * width)}
    if not name.startswith("serving_") and name != "head":
        bias = name == "embed" and bundle.seq_len is not None
        return {
            "hidden_states": (tokens, hidden),
            **({"attention_bias": (1, tokens)} if bias else {}),
        }
    last = {"fill-mask": config.vocab_size}.get(bundle.task, labels)
    task = TASKS[bundle.task]
    known: dict[str, _Dims] = {
        "logits": (1, tokens, last) if "logits" in task.per_token else (1, last),
        "prediction_logits": (1, tokens, config.vocab_size),
        "last_hidden_state": (1, tokens, hidden),
        "pooler_output": (1, hidden),
        "sop_logits": (1, 2),
        "probabilities": (1, last),
        "sentence_embedding": (1, hidden),
    }
    dims = {key: known.get(key, (1, tokens)) for key in bundle.outputs}
    if bundle.early_exit and name == "serving_default":
        dims["layers_used"] = (1,)
    return dims


def check_graph(data: Any, bundle: Bundle, *, where: str) -> None:
    """Check the model of a file of ours.

    Args:
        data: The file, or its part before the archive: bytes, a memory map or a view.
        bundle: The rest of the file.
        where: What to call the file in a message.

    Raises:
        BundleError: The flatbuffer is damaged, or its graph is not one that this project writes.
    """
    _check(where, lambda: _ModelCheck(_Model(data), data, bundle).run())


def check_flatbuffer(data: Any, *, where: str) -> None:
    """Check the flatbuffer of any TFLite model: offsets, indices, buffers, the order of operators.

    What its operators do with its shapes is not checked: this project does not know them all.

    Args:
        data: As in `check_graph`.
        where: What to call the file in a message.

    Raises:
        BundleError: The flatbuffer is damaged.
    """
    _check(where, lambda: _Model(data, ours=False))


# What looks up rows, and what may stand between a table and its rows.
_LOOKUPS = frozenset(
    code
    for code, kernel in _OPERATORS.items()
    if kernel.name in ("CAST", "DEQUANTIZE", "EMBEDDING_LOOKUP", "GATHER", "RESHAPE")
)


def count_operators(data: Any, *, where: str) -> tuple[int, tuple[str, ...]]:
    """Count the operators of a TFLite model.

    Args:
        data: As in `check_graph`.
        where: What to call the file in a message.

    Returns:
        The number in all graphs; and the types of those that look up rows of tables, or convert or
        reshape only tables, rows that were looked up, and inputs, one for each.

    Raises:
        BundleError: The flatbuffer is damaged.
    """
    graphs: list[_Graph] = []
    _check(where, lambda: graphs.extend(_Model(data, ours=False).graphs))
    lookups: list[str] = []
    for graph in graphs:
        computed: set[int] = set()
        for operator in graph.operators:
            if operator.code in _LOOKUPS and computed.isdisjoint(operator.inputs):
                lookups.append(_OPERATORS[operator.code].name)
            else:
                computed.update(operator.outputs)
    return sum(len(graph.operators) for graph in graphs), tuple(lookups)


def _check(where: str, check: Callable[[], object]) -> None:
    try:
        check()
    except BundleError as error:
        raise BundleError(f"{where} has a damaged model: {error}") from None
    except struct.error:
        raise BundleError(
            f"{where} has a damaged model: it refers to a place outside the file."
        ) from None
