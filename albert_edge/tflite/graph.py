"""TFLite models as parsed objects: read, copied, built graph by graph, and serialized.

A model is a `schema.ModelT` of LiteRT's generated object API from the export to the finished file.
`parse` and `pack` are the only two places where it comes from bytes or becomes bytes.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np

from albert_edge.errors import BundleError, ConversionError, DeviceError

__all__ = [
    "OPERATOR_NAMES",
    "ModelBuilder",
    "StageModel",
    "Stages",
    "builtin_code",
    "copy_model",
    "pack",
    "parse",
    "schema",
    "tensor_bytes",
    "type_name",
]

try:
    from ai_edge_litert import schema_py_generated as schema
except ModuleNotFoundError as error:
    raise DeviceError(
        "inspecting or writing a .tflite file requires the schema in ai-edge-litert, which is not "
        "installed (tflite-runtime has none). The file can be run here; inspect it where "
        "pip install ai-edge-litert works."
    ) from error
_Op = schema.BuiltinOperator
OPERATOR_NAMES = {value: name for name, value in vars(_Op).items() if name.isupper()}
TYPE_NAMES = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
_INT32_SCALAR = schema.TensorT(shape=[], type=schema.TensorType.INT32, hasRank=True)
BOOL_SCALAR = schema.TensorT(shape=[], type=schema.TensorType.BOOL, hasRank=True)
# `Buffer.data` is force_align:16 in TFLite's schema, which the Python generator ignores.  Kernels
# that read weights straight from the mapped file rely on it.
_ALIGNMENT = 16


class StageModel:
    """One stage of a model as a TFLite model of its own: one subgraph with one signature.

    Attributes:
        model: The parsed `schema.ModelT`.
        name: `embed`, `layer_0`, `head`, ...; the linker names the stage's tensors after it.
        graph: The only subgraph.
        inputs: The signature's inputs, name → tensor index.
        outputs: The signature's outputs, name → tensor index.
    """

    def __init__(self, model: Any, name: str) -> None:
        if len(model.subgraphs) != 1 or len(model.signatureDefs or ()) != 1:
            raise ConversionError(f"stage model {name!r} must be one subgraph with one signature.")
        self.name = name
        self.model = model
        self.graph = model.subgraphs[0]
        signature = model.signatureDefs[0]
        self.inputs = {entry.name.decode(): entry.tensorIndex for entry in signature.inputs}
        self.outputs = {entry.name.decode(): entry.tensorIndex for entry in signature.outputs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The stage models of one ALBERT.

    Attributes:
        embed: `input_ids`, `token_type_ids` (int32 [1, T]) → `hidden_states` (float32 [T, H]);
            for a fixed length also `attention_mask` (int32 [1, T]) → `attention_bias`
            (float32 [1, T]).
        layers: One a hidden group, or one a pass: `hidden_states` (and `attention_bias`) →
            `hidden_states`.
        head: `hidden_states` → the task's outputs.
        exits: `hidden_states` → `exits`, the logits of the early-exit classifiers of all passes but
            the last (float32 [1, (L-1)*C], or of tokens [T, (L-1)*K]); None without `early_exit`.
        early_exit_step: `tflite.export.early_exit_step`; None without `early_exit`.
        early_exit_outputs: `tflite.export.early_exit_outputs`; None without `early_exit`.
    """

    embed: StageModel
    layers: tuple[StageModel, ...]
    head: StageModel
    exits: StageModel | None = None
    early_exit_step: StageModel | None = None
    early_exit_outputs: StageModel | None = None


class ModelBuilder:
    """A model under construction: subgraphs over one list of distinct buffers."""

    def __init__(self) -> None:
        self.graphs: list[GraphBuilder] = []
        self._signatures: list[Any] = []
        self._buffers: dict[bytes, int] = {b"": 0}
        self._codes: dict[tuple[int, bytes, int], int] = {}

    def graph(self, name: str) -> GraphBuilder:
        """Add a subgraph."""
        self.graphs.append(GraphBuilder(self, name, len(self.graphs)))
        return self.graphs[-1]

    def buffer(self, data: bytes) -> int:
        """Return the index of the buffer that holds `data`, a new one if there is none."""
        return self._buffers.setdefault(data, len(self._buffers))

    def code(self, builtin: int, *, custom: bytes = b"", version: int = 1) -> int:
        """Return the index of an operator code, a new one if there is none."""
        return self._codes.setdefault((builtin, custom, version), len(self._codes))

    def sign(self, key: str, graph: GraphBuilder, outputs: Mapping[str, int]) -> None:
        """Add the signature `key` for `graph`, with the inputs made by `graph.input`."""
        graph.outputs = list(outputs.values())
        self._signatures.append(signature(key, graph.inputs, outputs, graph=graph.index))

    def build(self) -> Any:
        """Return the `schema.ModelT`."""
        return schema.ModelT(
            version=3,
            description=b"albert_edge",
            operatorCodes=[operator_code(*key) for key in self._codes],
            subgraphs=[graph.build() for graph in self.graphs],
            buffers=[schema.BufferT(data=data) for data in self._buffers],
            signatureDefs=self._signatures,
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
        tensor.name = name.encode()
        tensor.buffer = self._model.buffer(data)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def clone(self, index: int, name: str) -> int:
        """Add a computed tensor of the type, shape and quantization of tensor `index`."""
        return self.tensor(self._tensors[index], name)

    def input(self, name: str, like: Any) -> int:
        """Add an input of the type, shape and quantization of `like`."""
        self.inputs[name] = self.tensor(like, name)
        return self.inputs[name]

    def inputs_of(self, stage: StageModel) -> dict[str, int]:
        """Add an input for every input of `stage`."""
        return {
            name: self.input(name, stage.graph.tensors[index])
            for name, index in stage.inputs.items()
        }

    def inputs_like(self, other: GraphBuilder, tensors: Mapping[str, int]) -> dict[str, int]:
        """Add an input for each of `tensors` of another graph."""
        return {name: self.input(name, other._tensors[index]) for name, index in tensors.items()}

    def constant(self, like: Any, name: str, data: bytes) -> int:
        """Return a constant of the type, shape and quantization of `like`, a new one if needed."""
        scales, blocks = None, None
        if like.quantization is not None:
            scales, blocks = np.asarray(like.quantization.scale).tobytes(), _block_scales(like)
        shape = tuple(int(size) for size in like.shape)
        key = (self._model.buffer(data), like.type, shape, scales, blocks)
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
        """Add an operator."""
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

    def vector(self, values: Sequence[int], name: str) -> int:
        """Add the int32 constant `values`."""
        like = copy.copy(_INT32_SCALAR)
        like.shape = [len(values)]
        return self.constant(like, name, np.array(values, np.int32).tobytes())

    def inline(
        self, stage: StageModel, inputs: Mapping[str, int], *, name: str = ""
    ) -> dict[str, int]:
        """Copy the operators of `stage` into this graph.

        Args:
            stage: Its constants are added once, however often it is inlined.
            inputs: The tensors of this graph that replace the stage's inputs, by name.
            name: A prefix for the names of the tensors; the stage's own if left out.

        Returns:
            The stage's outputs as tensors of this graph, by name.
        """
        tensors = {index: inputs[key] for key, index in stage.inputs.items()}
        tensors[-1] = -1  # an optional input that is left out
        used = {
            int(index)
            for one in stage.graph.operators
            for index in (*one.inputs, *one.outputs, *(one.intermediates or ()))
        }
        for index, tensor in enumerate(stage.graph.tensors):
            if index not in tensors and index in used:
                tensors[index] = self._copy_tensor(stage, index, tensor, name or stage.name)
        for operator in stage.graph.operators:
            self._operators.append(self._copy_operator(stage, operator, tensors))
        return {key: tensors[index] for key, index in stage.outputs.items()}

    def _copy_tensor(self, stage: StageModel, index: int, tensor: Any, prefix: str) -> int:
        data = tensor_bytes(stage.model, tensor)
        if not data:
            return self.tensor(tensor, f"{prefix}/{index}")
        if (scales := _block_scales(tensor)) is not None:
            tensor = copy.deepcopy(tensor)
            stored = stage.graph.tensors[scales]
            tensor.quantization.details.scales = self._copy_tensor(stage, scales, stored, prefix)
        return self.constant(tensor, f"{stage.name}/{index}", data)

    def _copy_operator(self, stage: StageModel, operator: Any, tensors: Mapping[int, int]) -> Any:
        code = stage.model.operatorCodes[operator.opcodeIndex]
        builtin = builtin_code(stage.model, operator)
        if builtin in (_Op.WHILE, _Op.IF, _Op.CALL_ONCE) or operator.largeCustomOptionsSize:
            raise ConversionError(
                f"stage model {stage.name!r} holds {OPERATOR_NAMES.get(builtin, builtin)}, which "
                "the linker cannot copy."
            )
        copied = copy.copy(operator)
        copied.opcodeIndex = self._model.code(
            builtin, custom=code.customCode or b"", version=code.version
        )
        for field in ("inputs", "outputs", "intermediates"):
            indices = getattr(operator, field)
            if indices is not None:
                setattr(copied, field, [tensors[int(index)] for index in indices])
        return copied

    def build(self) -> Any:
        """Return the `schema.SubGraphT`."""
        return schema.SubGraphT(
            name=self._name.encode(),
            tensors=self._tensors,
            inputs=list(self.inputs.values()),
            outputs=self.outputs,
            operators=self._operators,
        )


def operator_code(builtin: int, custom: bytes, version: int) -> Any:
    """Return the `schema.OperatorCodeT`."""
    return schema.OperatorCodeT(
        # Readers older than the 32-bit code look at this byte.
        deprecatedBuiltinCode=min(builtin, _Op.PLACEHOLDER_FOR_GREATER_OP_CODES),
        builtinCode=builtin,
        customCode=custom or None,
        version=version,
    )


def _block_scales(tensor: Any) -> int | None:
    """Return the tensor that holds a blockwise quantized tensor's scales, or None."""
    if tensor.quantization is None or tensor.quantization.details is None:
        return None
    return int(tensor.quantization.details.scales)


def signature(
    key: str, inputs: Mapping[str, int], outputs: Mapping[str, int], *, graph: int = 0
) -> Any:
    """Return the signature `key` of subgraph `graph`: name → tensor index."""
    return schema.SignatureDefT(
        signatureKey=key.encode(),
        inputs=_tensor_map(inputs),
        outputs=_tensor_map(outputs),
        subgraphIndex=graph,
    )


def _tensor_map(tensors: Mapping[str, int]) -> list[Any]:
    return [
        schema.TensorMapT(name=name.encode(), tensorIndex=index) for name, index in tensors.items()
    ]


def parse(model: bytes) -> Any:
    """Parse a `.tflite` file into the schema's object API.

    Args:
        model: The file's bytes; anything behind the flatbuffer (an appended zip) is ignored.

    Returns:
        A `schema.ModelT`, whose buffers are views of `model`.

    Raises:
        BundleError: The bytes are not a complete TFLite model.
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
    model = copy.copy(model)
    model.buffers = [_AlignedBuffer(buffer.data) for buffer in model.buffers]
    data_bytes = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(data_bytes + 65536)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def copy_model(model: Any) -> Any:
    """Copy a `schema.ModelT` so that changing its graphs leaves the original alone.

    Graphs, tensors, operators and the list of buffers are new; the buffers' data are shared.
    """
    copied = copy.copy(model)
    copied.buffers, copied.operatorCodes = list(model.buffers), list(model.operatorCodes)
    copied.subgraphs = [copy.copy(graph) for graph in model.subgraphs]
    for graph in copied.subgraphs:
        graph.tensors = [copy.copy(tensor) for tensor in graph.tensors]
        graph.operators = [copy.copy(operator) for operator in graph.operators]
        for operator in graph.operators:
            operator.builtinOptions = copy.copy(operator.builtinOptions)
    return copied


def builtin_code(model: Any, operator: Any) -> int:
    """Return an operator's builtin code: the 32-bit one, or the byte that older writers filled."""
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def tensor_bytes(model: Any, tensor: Any) -> bytes:
    """Return the stored bytes of a constant; empty for a computed tensor."""
    data = model.buffers[tensor.buffer].data
    if data is None:
        return b""
    return data if isinstance(data, bytes) else bytes(memoryview(data))


def type_name(tensor: Any) -> str:
    """Return a tensor's type, such as `float32`."""
    return str(TYPE_NAMES.get(tensor.type, f"type {tensor.type}")).lower()


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
