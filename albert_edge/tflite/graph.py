"""Build a TFLite model out of pieces: subgraphs over one list of distinct buffers."""

from __future__ import annotations

import copy
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from albert_edge.errors import BundleError, ConversionError, DeviceError

__all__ = [
    "BOOL_SCALAR",
    "GraphBuilder",
    "ModelBuilder",
    "StageModel",
    "builtin_code",
    "pack",
    "parse",
    "schema",
    "signature",
    "tensor_bytes",
]

try:
    from ai_edge_litert import schema_py_generated as schema
except ModuleNotFoundError as error:
    raise DeviceError(
        "looking into a .tflite file takes the schema that ai-edge-litert brings, and it is not "
        "installed (tflite-runtime has none). Run the file here, and look into it where "
        "pip install ai-edge-litert works."
    ) from error
_Op = schema.BuiltinOperator
_INT32_SCALAR = schema.TensorT(shape=[], type=schema.TensorType.INT32, hasRank=True)
BOOL_SCALAR = schema.TensorT(shape=[], type=schema.TensorType.BOOL, hasRank=True)
# `Buffer.data` is force_align:16 in TFLite's schema, which the Python generator ignores.  Kernels
# that read weights straight from the mapped file rely on it.
_ALIGNMENT = 16


class StageModel:
    """A parsed piece, and its tensors by the names of its signature."""

    def __init__(self, blob: bytes, name: str) -> None:
        self.name = name
        self.blob = blob
        self.model = parse(blob)
        if len(self.model.subgraphs) != 1 or len(self.model.signatureDefs or ()) != 1:
            raise ConversionError(f"piece {name!r} must be one subgraph with one signature.")
        self.graph = self.model.subgraphs[0]
        signature = self.model.signatureDefs[0]
        self.inputs = {entry.name.decode(): entry.tensorIndex for entry in signature.inputs}
        self.outputs = {entry.name.decode(): entry.tensorIndex for entry in signature.outputs}


class ModelBuilder:
    """A model under construction: subgraphs over one list of distinct buffers."""

    def __init__(self) -> None:
        self.graphs: list[GraphBuilder] = []
        self._signatures: list[Any] = []
        self._buffers: dict[bytes, int] = {b"": 0}
        self._codes: dict[tuple[int, bytes, int], int] = {}

    def graph(self, name: str) -> GraphBuilder:
        self.graphs.append(GraphBuilder(self, name, len(self.graphs)))
        return self.graphs[-1]

    def buffer(self, data: bytes) -> int:
        return self._buffers.setdefault(data, len(self._buffers))

    def code(self, builtin: int, *, custom: bytes = b"", version: int = 1) -> int:
        return self._codes.setdefault((builtin, custom, version), len(self._codes))

    def sign(self, key: str, graph: GraphBuilder, outputs: Mapping[str, int]) -> None:
        """Make `graph` callable by `key`; its inputs are those made with `graph.input`."""
        graph.outputs = list(outputs.values())
        self._signatures.append(signature(key, graph.inputs, outputs, graph=graph.index))

    def pack(self) -> bytes:
        codes = [
            schema.OperatorCodeT(
                # Readers older than the 32-bit code look at this byte.
                deprecatedBuiltinCode=min(builtin, _Op.PLACEHOLDER_FOR_GREATER_OP_CODES),
                builtinCode=builtin,
                customCode=custom or None,
                version=version,
            )
            for builtin, custom, version in self._codes
        ]
        return pack(
            schema.ModelT(
                version=3,
                description="albert_edge",
                operatorCodes=codes,
                subgraphs=[graph.pack() for graph in self.graphs],
                buffers=[schema.BufferT(data=data) for data in self._buffers],
                signatureDefs=self._signatures,
            )
        )


class GraphBuilder:
    """A subgraph under construction."""

    def __init__(self, model: ModelBuilder, name: str, index: int) -> None:
        self.index = index
        self.inputs: dict[str, int] = {}
        self.outputs: list[int] = []
        self._model = model
        self._name = name
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._constants: dict[Any, int] = {}

    def tensor(self, like: Any, name: str, data: bytes = b"") -> int:
        """Add a tensor of the type, shape and quantization of `like`."""
        tensor = copy.copy(like)
        tensor.name = name
        tensor.buffer = self._model.buffer(data)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def like(self, index: int, name: str) -> int:
        """Add a computed tensor like the tensor `index` of this graph."""
        return self.tensor(self._tensors[index], name)

    def input(self, name: str, like: Any) -> int:
        self.inputs[name] = self.tensor(like, name)
        return self.inputs[name]

    def inputs_of(self, piece: StageModel) -> dict[str, int]:
        """Add an input for every input of `piece`."""
        return {
            name: self.input(name, piece.graph.tensors[index])
            for name, index in piece.inputs.items()
        }

    def inputs_like(self, other: GraphBuilder, tensors: Mapping[str, int]) -> dict[str, int]:
        """Add an input for each of `tensors` of another graph."""
        return {name: self.input(name, other._tensors[index]) for name, index in tensors.items()}

    def constant(self, like: Any, name: str, data: bytes) -> int:
        """Add a constant of the type, shape and quantization of `like`, or find it again."""
        steps, details = None, None
        if like.quantization is not None:
            steps, details = np.asarray(like.quantization.scale).tobytes(), block_scales(like)
        shape = tuple(int(size) for size in like.shape)
        key = (self._model.buffer(data), like.type, shape, steps, details)
        if key not in self._constants:
            self._constants[key] = self.tensor(like, name, data)
        return self._constants[key]

    def operator(
        self,
        builtin: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,
        *,
        version: int = 1,
    ) -> None:
        name = "NONE" if options is None else type(options).__name__.removesuffix("T")
        self._operators.append(
            schema.OperatorT(
                opcodeIndex=self._model.code(builtin, version=version),
                inputs=list(inputs),
                outputs=list(outputs),
                builtinOptionsType=getattr(schema.BuiltinOptions, name),
                builtinOptions=options,
            )
        )

    def scalar(self, value: int, name: str) -> int:
        """Add the int32 constant `value`."""
        return self.constant(_INT32_SCALAR, name, value.to_bytes(4, "little", signed=True))

    def splice(
        self, piece: StageModel, inputs: Mapping[str, int], *, name: str = ""
    ) -> dict[str, int]:
        """Copy the operators of `piece`, reading `inputs`.

        Args:
            piece: What to copy; its constants are added once, however often it is spliced.
            inputs: The tensors of this graph to use for the piece's inputs, by name.
            name: A prefix for the names of the tensors; the piece's own when left out.

        Returns:
            The piece's outputs as tensors of this graph, by name.
        """
        tensors = {index: inputs[key] for key, index in piece.inputs.items()}
        tensors[-1] = -1  # an optional input that is left out
        for index, tensor in enumerate(piece.graph.tensors):
            if index not in tensors:
                tensors[index] = self._copy(piece, index, tensor, name or piece.name)
        for operator in piece.graph.operators:
            self._operators.append(self._copy_operator(piece, operator, tensors))
        return {key: tensors[index] for key, index in piece.outputs.items()}

    def _copy(self, piece: StageModel, index: int, tensor: Any, prefix: str) -> int:
        data = tensor_bytes(piece.model, tensor)
        if not data:
            return self.tensor(tensor, f"{prefix}/{index}")
        if (scales := block_scales(tensor)) is not None:
            tensor = copy.deepcopy(tensor)
            stored = piece.graph.tensors[scales]
            tensor.quantization.details.scales = self._copy(piece, scales, stored, prefix)
        return self.constant(tensor, f"{piece.name}/{index}", data)

    def _copy_operator(self, piece: StageModel, operator: Any, tensors: Mapping[int, int]) -> Any:
        code = piece.model.operatorCodes[operator.opcodeIndex]
        builtin = builtin_code(piece.model, operator)
        if builtin in (_Op.WHILE, _Op.IF, _Op.CALL_ONCE) or operator.largeCustomOptionsSize:
            raise ConversionError(f"piece {piece.name!r} holds an operator that cannot be copied.")
        copied = copy.copy(operator)
        copied.opcodeIndex = self._model.code(
            builtin, custom=code.customCode or b"", version=code.version
        )
        for field in ("inputs", "outputs", "intermediates"):
            indices = getattr(operator, field)
            if indices is not None:
                setattr(copied, field, [tensors[int(index)] for index in indices])
        return copied

    def pack(self) -> Any:
        return schema.SubGraphT(
            name=self._name,
            tensors=self._tensors,
            inputs=list(self.inputs.values()),
            outputs=self.outputs,
            operators=self._operators,
        )


def block_scales(tensor: Any) -> int | None:
    """Return which tensor holds the scales of a blockwise quantized one, or None."""
    if tensor.quantization is None or tensor.quantization.details is None:
        return None
    return int(tensor.quantization.details.scales)


def signature(
    key: str, inputs: Mapping[str, int], outputs: Mapping[str, int], *, graph: int = 0
) -> Any:
    """Return what makes a subgraph callable by `key`: its tensors by name."""
    return schema.SignatureDefT(
        signatureKey=key,
        inputs=_tensor_map(inputs),
        outputs=_tensor_map(outputs),
        subgraphIndex=graph,
    )


def _tensor_map(tensors: Mapping[str, int]) -> list[Any]:
    return [schema.TensorMapT(name=name, tensorIndex=index) for name, index in tensors.items()]


# Read and write `.tflite` flatbuffers through LiteRT's generated schema.


def parse(model: bytes) -> Any:
    """Parse a `.tflite` file into the schema's object API.

    Args:
        model: The file's bytes; what follows the flatbuffer (an appended zip) is passed over.

    Returns:
        A `schema.ModelT`, whose buffers are views of `model`.

    Raises:
        BundleError: These are not the bytes of a whole TFLite model.
    """
    if len(model) < 8 or model[4:8] != b"TFL3":
        raise BundleError("not a TFLite model: the file identifier TFL3 is missing.")
    try:
        parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise BundleError(f"the TFLite model is cut off or damaged: {error}.") from error
    if not parsed.subgraphs or not parsed.buffers:
        raise BundleError("the TFLite model is damaged: it has no graph.")
    return parsed


def pack(model: Any) -> bytes:
    """Serialize a `schema.ModelT`; equal models give equal bytes."""
    model.buffers = [_AlignedBuffer(buffer.data) for buffer in model.buffers]
    data_bytes = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(data_bytes + 65536)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def builtin_code(model: Any, operator: Any) -> int:
    """Return an operator's builtin code: the 32-bit one, or the byte that older writers filled."""
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def tensor_bytes(model: Any, tensor: Any) -> bytes:
    """Return the stored bytes of a tensor, empty for one that is computed."""
    data = model.buffers[tensor.buffer].data
    return b"" if data is None else bytes(memoryview(data))


class _AlignedBuffer(schema.BufferT):
    """A buffer whose data start on a 16-byte boundary of the file."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 (the schema's name)
        if self.data is None or len(self.data) == 0:
            schema.BufferStart(builder)
            return schema.BufferEnd(builder)
        data = memoryview(self.data)  # of bytes, or of the view that `parse` made
        builder.StartVector(1, len(data), _ALIGNMENT)
        builder.head -= len(data)
        builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)
