"""Read and write TensorFlow checkpoints: `PREFIX.index` and `PREFIX.data-00000-of-00001`.

The index is a table in LevelDB's format, from names to the places of variables.  It is checked here
first, because TensorFlow's own reader ends the process when a file has valid checksums and invalid
content.
"""

from __future__ import annotations

import math
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.tensor_file import LOSSLESS_DTYPES, LazyTensor, TensorFile, safe_path
from albert_edge.errors import CheckpointError, requires_extra

_MAX_INDEX_BYTES = 2**26  # a variable takes about 100

# LevelDB's table format.
_FOOTER_BYTES = 48
_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_TRAILER_BYTES = 5  # after each block: its compression, and its checksum
_MAX_KEY_BYTES = 1024


def open_variables(folder: Path, prefix: str) -> TensorFile:
    """Open a checkpoint: read the names, types and shapes of its variables, but no values.

    Raises:
        CheckpointError: A file is missing, cut short, or damaged.
        MissingExtraError: TensorFlow is not installed.
    """
    index = safe_path(folder, f"{prefix}.index")
    shards = [safe_path(folder, path.name) for path in sorted(folder.glob(f"{prefix}.data-*"))]
    if not shards:
        raise CheckpointError(
            f"{index} has no {prefix}.data-* next to it; is the download complete?"
        )
    tensorflow, failures = _import_tensorflow()
    try:
        if index.stat().st_size > _MAX_INDEX_BYTES:
            raise ValueError(f"it has more than {_MAX_INDEX_BYTES} bytes")
        tensors = _shapes_and_dtypes(read_leveldb_table(index.read_bytes()), shards, tensorflow)
        reader = tensorflow.train.load_checkpoint(str(folder / prefix))
    except failures as error:
        raise CheckpointError(f"{index} has no valid variables: {_first_line(error)}.") from error

    def read(name: str) -> np.ndarray:
        try:
            values: np.ndarray = reader.get_tensor(name)
        except failures as error:
            raise CheckpointError(f"{index}: {name} is damaged: {_first_line(error)}.") from error
        return values

    lazy = {name: LazyTensor(*spec, partial(read, name)) for name, spec in tensors.items()}
    return TensorFile(index, (index, *shards), lazy)


def pack_variables(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, bytes]:
    """Return the files of a checkpoint of `tensors` by name, deterministically.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    tensorflow, _ = _import_tensorflow()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tensorflow.raw_ops.SaveV2(
            prefix=str(folder / prefix),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[np.ascontiguousarray(values) for values in tensors.values()],
        )
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read_leveldb_table(blob: bytes) -> dict[bytes, bytes]:
    """Read all keys and values of a table in LevelDB's format.

    Raises:
        ValueError: The bytes are not a table, or they are damaged.
    """
    if len(blob) < _FOOTER_BYTES or not blob.endswith(_MAGIC):
        raise ValueError("it does not end like a table")
    footer = blob[-_FOOTER_BYTES:]
    _, at = _read_handle(footer, 0)  # of the filters, which TensorFlow does not write
    index, _ = _read_handle(footer, at)
    table: dict[bytes, bytes] = {}
    for _, value in _read_block(blob, *index):
        block, _ = _read_handle(value, 0)
        for key, content in _read_block(blob, *block):
            if table and key <= next(reversed(table)):
                raise ValueError("its keys are not in order")
            table[key] = content
    return table


def _shapes_and_dtypes(
    table: Mapping[bytes, bytes], shards: Sequence[Path], tensorflow: Any
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and type of every variable, after checking that its shard contains it."""
    from tensorflow.core.protobuf import tensor_bundle_pb2 as bundle

    header = bundle.BundleHeaderProto.FromString(table.get(b"", b""))
    if header.num_shards != len(shards) or header.endianness != header.LITTLE:
        raise ValueError(f"it is for {header.num_shards} data files, and there are {len(shards)}")
    tensors, sizes = {}, [path.stat().st_size for path in shards]
    for key, value in table.items():
        if not key:
            continue
        name, entry = key.decode(), bundle.BundleEntryProto.FromString(value)
        if entry.slices:
            raise ValueError(f"{name} is partitioned; save it in one part")
        dtype = tensorflow.dtypes.as_dtype(entry.dtype)
        shape = tuple(dimension.size for dimension in entry.shape.dim)
        if entry.shape.unknown_rank or len(shape) > 8 or any(not 0 <= n < 2**40 for n in shape):
            raise ValueError(f"{name} has an invalid shape")
        if not 0 <= entry.shard_id < len(shards) or min(entry.offset, entry.size) < 0:
            raise ValueError(f"{name} has an invalid place")
        if entry.offset + entry.size > sizes[entry.shard_id]:
            raise ValueError(f"{name} exceeds its data file; is the download complete?")
        # The size of a string does not follow from its shape.
        if dtype.name in LOSSLESS_DTYPES and entry.size != math.prod(shape) * dtype.size:
            raise ValueError(f"{name} has the shape {list(shape)} and {entry.size} bytes")
        tensors[name] = shape, dtype.name
    return tensors


def _import_tensorflow() -> tuple[Any, tuple[type[Exception], ...]]:
    """Return TensorFlow, and the exceptions that it raises on damaged files."""
    with requires_extra():
        import tensorflow
    from google.protobuf.message import DecodeError

    others = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
    return tensorflow, (tensorflow.errors.OpError, DecodeError, *others)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _read_block(blob: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block, in which keys omit the prefix shared with the last."""
    if start + size + _TRAILER_BYTES > len(blob) or size < 4:
        raise ValueError("a block exceeds the file")
    if blob[start + size]:
        raise ValueError("a block is compressed; TensorFlow never writes any")
    block = blob[start : start + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = size - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _read_varint(block, at)
        added, at = _read_varint(block, at)
        length, at = _read_varint(block, at)
        if shared > len(key) or at + added + length > end or shared + added > _MAX_KEY_BYTES:
            raise ValueError("an entry exceeds its block")
        key = key[:shared] + block[at : at + added]
        at += added + length
        yield key, block[at - length : at]
    if at != end:
        raise ValueError("a block has no end")


def _read_handle(blob: bytes, at: int) -> tuple[tuple[int, int], int]:
    start, at = _read_varint(blob, at)
    size, at = _read_varint(blob, at)
    return (start, size), at


def _read_varint(blob: bytes, at: int) -> tuple[int, int]:
    """Read a number with seven bits per byte, the lowest first; return it and the next offset."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(blob):
            break
        byte, at = blob[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
