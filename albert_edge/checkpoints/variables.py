"""Variables as TensorFlow saves them: `PREFIX.index` and `PREFIX.data-00000-of-00001`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.folder import member
from albert_edge.checkpoints.store import EXACT, Store, Stored
from albert_edge.checkpoints.table import read_table
from albert_edge.errors import CheckpointError, MissingExtraError

__all__ = ["open_variables", "pack_variables"]

_MOST_INDEX_BYTES = 2**26  # a variable takes about 100


def open_variables(folder: Path, prefix: str) -> Store:
    """Read the names, types and shapes of saved variables; no values yet.

    Raises:
        CheckpointError: A file is missing, cut short, or damaged.
        MissingExtraError: TensorFlow is not installed.
    """
    index = member(folder, f"{prefix}.index")
    shards = [member(folder, path.name) for path in sorted(folder.glob(f"{prefix}.data-*"))]
    if not shards:
        raise CheckpointError(
            f"{index} has no {prefix}.data-* beside it; is the download complete?"
        )
    tensorflow, damage = _tensorflow()
    try:
        if index.stat().st_size > _MOST_INDEX_BYTES:
            raise ValueError("it is too large")
        tensors = _check(read_table(index.read_bytes()), shards, tensorflow)
        reader = tensorflow.train.load_checkpoint(str(folder / prefix))
    except damage as error:
        raise CheckpointError(f"{index} holds no variables: {_short(error)}.") from error

    def read(name: str) -> np.ndarray:
        try:
            values: np.ndarray = reader.get_tensor(name)
        except damage as error:
            raise CheckpointError(f"{index}: {name} is damaged: {_short(error)}.") from error
        return values

    stored = {name: Stored(*kind, partial(read, name)) for name, kind in tensors.items()}
    return Store(index, (index, *shards), stored)


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
        if kind.name in EXACT and entry.size != math.prod(shape) * kind.size:
            raise ValueError(f"{name} has {entry.size} bytes and the shape {list(shape)}")
        tensors[name] = shape, kind.name
    return tensors


def _tensorflow() -> tuple[Any, tuple[type[Exception], ...]]:
    """Return TensorFlow, and what it raises on damaged files."""
    try:
        import tensorflow
    except ModuleNotFoundError as error:
        raise MissingExtraError("tensorflow", "convert") from error
    from google.protobuf.message import DecodeError

    damage = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
    return tensorflow, (tensorflow.errors.OpError, DecodeError, *damage)


def _short(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
