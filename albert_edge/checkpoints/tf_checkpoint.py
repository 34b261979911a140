"""Variables as TensorFlow saves them: `PREFIX.index` and `PREFIX.data-00000-of-00001`."""

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

__all__ = ["open_variables", "pack_variables", "read_leveldb_table"]

_MOST_INDEX_BYTES = 2**26  # a variable takes about 100
_FOOTER = 48
_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_TRAILER = 5  # after each block: how it is packed, and its checksum
_MOST_KEY_BYTES = 1024


def open_variables(folder: Path, prefix: str) -> TensorFile:
    """Read the names, types and shapes of saved variables; no values yet.

    Raises:
        CheckpointError: A file is missing, cut short, or damaged.
        MissingExtraError: TensorFlow is not installed.
    """
    index = safe_path(folder, f"{prefix}.index")
    shards = [safe_path(folder, path.name) for path in sorted(folder.glob(f"{prefix}.data-*"))]
    if not shards:
        raise CheckpointError(
            f"{index} has no {prefix}.data-* beside it; is the download complete?"
        )
    tensorflow, damage = _tensorflow()
    try:
        if index.stat().st_size > _MOST_INDEX_BYTES:
            raise ValueError("it is too large")
        tensors = _check(read_leveldb_table(index.read_bytes()), shards, tensorflow)
        reader = tensorflow.train.load_checkpoint(str(folder / prefix))
    except damage as error:
        raise CheckpointError(f"{index} holds no variables: {_short(error)}.") from error

    def read(name: str) -> np.ndarray:
        try:
            values: np.ndarray = reader.get_tensor(name)
        except damage as error:
            raise CheckpointError(f"{index}: {name} is damaged: {_short(error)}.") from error
        return values

    stored = {name: LazyTensor(*kind, partial(read, name)) for name, kind in tensors.items()}
    return TensorFile(index, (index, *shards), stored)


def pack_variables(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, bytes]:
    """Return the files that hold `tensors`, by name; the same tensors give the same bytes.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    tensorflow, _ = _tensorflow()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tensorflow.raw_ops.SaveV2(
            prefix=str(folder / prefix),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[np.ascontiguousarray(values) for values in tensors.values()],
        )
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _check(
    table: Mapping[bytes, bytes], shards: Sequence[Path], tensorflow: Any
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and type of every variable, each of which lies whole in its shard."""
    from tensorflow.core.protobuf import tensor_bundle_pb2 as bundle

    header = bundle.BundleHeaderProto.FromString(table.get(b"", b""))
    if header.num_shards != len(shards) or header.endianness != header.LITTLE:
        raise ValueError(f"it is for {header.num_shards} files, and there are {len(shards)}")
    tensors, sizes = {}, [path.stat().st_size for path in shards]
    for key, value in table.items():
        if not key:
            continue
        name, entry = key.decode(), bundle.BundleEntryProto.FromString(value)
        if entry.slices:
            raise ValueError(f"{name} is partitioned; save it whole")
        kind = tensorflow.dtypes.as_dtype(entry.dtype)
        shape = tuple(dimension.size for dimension in entry.shape.dim)
        if entry.shape.unknown_rank or len(shape) > 8 or any(not 0 <= n < 2**40 for n in shape):
            raise ValueError(f"{name} has an impossible shape")
        if not 0 <= entry.shard_id < len(shards) or min(entry.offset, entry.size) < 0:
            raise ValueError(f"{name} is nowhere")
        if entry.offset + entry.size > sizes[entry.shard_id]:
            raise ValueError(f"{name} ends after its file; is the download complete?")
        # Strings have no size of their own.
        if kind.name in LOSSLESS_DTYPES and entry.size != math.prod(shape) * kind.size:
            raise ValueError(f"{name} has {entry.size} bytes and the shape {list(shape)}")
        tensors[name] = shape, kind.name
    return tensors


def _tensorflow() -> tuple[Any, tuple[type[Exception], ...]]:
    """Return TensorFlow, and what it raises on damaged files."""
    with requires_extra():
        import tensorflow
    from google.protobuf.message import DecodeError

    damage = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
    return tensorflow, (tensorflow.errors.OpError, DecodeError, *damage)


def _short(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# A sorted table of bytes, as LevelDB lays it out: the index of a TensorFlow checkpoint.
#
# TensorFlow's own reader ends the process when such a file has sound checksums and unsound content,
# so the content is looked at first.


def read_leveldb_table(blob: bytes) -> dict[bytes, bytes]:
    """Read every entry of a table.

    Raises:
        ValueError: It is none, or is damaged.
    """
    if len(blob) < _FOOTER or not blob.endswith(_MAGIC):
        raise ValueError("it does not end as a table does")
    footer = blob[-_FOOTER:]
    _, start = _handle(footer, 0)  # of the index of filters, which TensorFlow leaves empty
    index, _ = _handle(footer, start)
    table: dict[bytes, bytes] = {}
    for _, value in _entries(blob, *index):
        block, _ = _handle(value, 0)
        for key, content in _entries(blob, *block):
            if table and key <= next(reversed(table)):
                raise ValueError("its keys are not in order")
            table[key] = content
    return table


def _entries(blob: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; each key tells how much of the last one it repeats."""
    if start + size + _TRAILER > len(blob) or size < 4:
        raise ValueError("a block reaches out of it")
    if blob[start + size]:
        raise ValueError("a block is compressed, as TensorFlow never writes it")
    block = blob[start : start + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = size - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + added + length > end or shared + added > _MOST_KEY_BYTES:
            raise ValueError("an entry reaches out of its block")
        key = key[:shared] + block[at : at + added]
        at += added + length
        yield key, block[at - length : at]
    if at != end:
        raise ValueError("a block has no end")


def _handle(blob: bytes, at: int) -> tuple[tuple[int, int], int]:
    start, at = _varint(blob, at)
    size, at = _varint(blob, at)
    return (start, size), at


def _varint(blob: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first, the last without the eighth."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(blob):
            break
        byte, at = blob[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
