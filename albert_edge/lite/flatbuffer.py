"""Read and write `.tflite` flatbuffers through LiteRT's generated schema."""

from __future__ import annotations

import struct
from typing import Any

import flatbuffers

from albert_edge.errors import BundleError, DeviceError

try:
    from ai_edge_litert import schema_py_generated as schema
except ModuleNotFoundError as error:
    raise DeviceError(
        "looking into a .tflite file takes the schema that ai-edge-litert brings, and it is not "
        "installed (tflite-runtime has none). Run the file here, and look into it where "
        "pip install ai-edge-litert works."
    ) from error

__all__ = ["builtin_code", "pack", "parse", "schema", "tensor_bytes"]

# `Buffer.data` is force_align:16 in TFLite's schema, which the Python generator ignores.  Kernels
# that read weights straight from the mapped file rely on it.
_ALIGNMENT = 16


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
