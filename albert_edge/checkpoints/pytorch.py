"""Read files of torch.save, such as `pytorch_model.bin`, without torch and without running pickles.

torch.save writes a zip archive, and before torch 1.6 it wrote a series of pickles.  A pickle is a
program that can call any function that it names.  The unpickler here allows only the names that
describe a tensor, and its own versions of these functions do nothing but record the description.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.tensor_file import LazyTensor, TensorFile, require_bfloat16
from albert_edge.errors import CheckpointError

ZIP_MAGIC = b"PK\x03\x04"
# pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), torch's magic number.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_VERSION = 1001

_MAX_PICKLE_BYTES = 2**24  # the description of a tensor takes about 300 bytes
_MAX_DIMENSIONS = 8

_DTYPES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

# The exceptions of `zipfile` on a damaged archive, besides OSError.
_ZIP_ERRORS = (
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
# The exceptions of `pickle` on damaged bytes.
_PICKLE_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)


def open_torch(path: Path) -> TensorFile:
    """Open a file of torch.save: read the names, types and shapes, but no values.

    Raises:
        CheckpointError: The file is damaged, its sizes contradict each other, or its pickle would
            run code.
    """
    with path.open("rb") as file:
        zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    return TensorFile(path, (path,), _open_zip(path) if zipped else _open_legacy(path))


def _open_zip(path: Path) -> dict[str, LazyTensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            folder, sizes = _check_entries(archive, path)
            blob = archive.read(f"{folder}data.pkl")
            order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in sizes else b""
    except _ZIP_ERRORS as error:
        raise _damaged(path, error) from error
    if order not in (b"", b"little"):
        raise CheckpointError(
            f"{path} has the byte order {order!r}, expected little-endian; save it again."
        )
    state, storages = _load_pickle(io.BytesIO(blob), path)
    for key, storage in storages.items():
        if (size := sizes.get(f"{folder}data/{key}")) != storage.size_bytes:
            raise CheckpointError(
                f"{path}: the storage {key} has {size or 'no'} bytes, expected "
                f"{storage.size_bytes}; the file is damaged."
            )

    def read(storage: _Storage) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(f"{folder}data/{storage.key}")
        except _ZIP_ERRORS as error:
            raise _damaged(path, error) from error

    return _lazy_tensors(state, read, path)


def _check_entries(archive: zipfile.ZipFile, path: Path) -> tuple[str, dict[str, int]]:
    """Return the top folder of the archive, and the size in bytes of each entry by name."""
    entries = archive.infolist()
    sizes = {entry.filename: entry.file_size for entry in entries}
    if compressed := [
        entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED
    ]:
        raise CheckpointError(
            f"{path} is a zip archive with compressed entries ({compressed[0]}), which torch "
            "never writes."
        )
    if len(sizes) < len(entries) or sum(sizes.values()) > path.stat().st_size:
        raise CheckpointError(
            f"{path} is a zip archive whose entries are larger than the file or not distinct."
        )
    pickles = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1 or sizes[pickles[0]] > _MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"{path} is a zip archive that torch did not write: it needs one data.pkl."
        )
    return pickles[0].removesuffix("data.pkl"), sizes


def _open_legacy(path: Path) -> dict[str, LazyTensor]:
    """Open a file of torch before 1.6: five pickles, then the storages in the last one's order."""
    with path.open("rb") as file:
        head = io.BytesIO(file.read(_MAX_PICKLE_BYTES))
    _, (version, _), (system, _), (state, storages), (keys, _) = [
        _load_pickle(head, path) for _ in range(5)
    ]
    if (
        version != _LEGACY_VERSION
        or not isinstance(system, dict)
        or not system.get("little_endian")
    ):
        raise CheckpointError(
            f"{path} has an unknown version of torch's old format; save it again."
        )
    named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not named or sorted(keys) != sorted(storages):
        raise CheckpointError(f"{path} lacks the storages of its tensors; it is damaged.")
    starts, start = {}, head.tell()
    for key in keys:
        starts[key] = start + 8  # after the count
        start = starts[key] + storages[key].size_bytes
    if start > (size := path.stat().st_size):
        raise CheckpointError(
            f"{path} is cut short: it has {size} bytes, expected {start}. Download it again."
        )

    def read(storage: _Storage) -> bytes:
        with path.open("rb") as file:
            file.seek(starts[storage.key] - 8)
            count = int.from_bytes(file.read(8), "little")
            if count != storage.count:
                raise CheckpointError(
                    f"{path}: the storage {storage.key} has {count} numbers, expected "
                    f"{storage.count}; the file is damaged."
                )
            return file.read(storage.size_bytes)

    return _lazy_tensors(state, read, path)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a complete torch file ({error}): it is damaged or cut short. Download or "
        "save it again."
    )


def _load_pickle(file: io.BytesIO, where: Path) -> tuple[Any, dict[str, _Storage]]:
    """Read the next pickle in `file`.

    Returns:
        The object, with a `_View` for each tensor, and the storages by key.

    Raises:
        CheckpointError: The pickle is damaged, or names anything that does not describe a tensor.
    """
    unpickler = _Unpickler(file, where)
    try:
        return unpickler.load(), unpickler.storages
    except _PICKLE_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"{where} has no valid pickle of tensors: {reason}.") from error


def _lazy_tensors(
    state: Any, read: Callable[[_Storage], bytes], where: Path
) -> dict[str, LazyTensor]:
    """Return the tensors of a state dict, which must contain nothing else.

    Args:
        state: An object of `_load_pickle`.
        read: Reads all bytes of a storage.
        where: The file, for error messages.

    Raises:
        CheckpointError: The object is not a state dict, or a tensor exceeds its storage.
    """
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{where} has no state dict; save model.state_dict().")
    if others := [name for name, view in state.items() if not isinstance(view, _View)]:
        raise CheckpointError(
            f"{where} has more than tensors: {', '.join(others)}; save model.state_dict()."
        )
    for name, view in state.items():
        last = view.offset + sum(
            (size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)
        )
        size, floating = math.prod(view.shape), "float" in view.storage.dtype
        # A stride of 0 could make a huge weight out of one number.
        if size and (last >= view.storage.count or (floating and size > view.storage.count)):
            raise CheckpointError(
                f"{where}: {name} {list(view.shape)} does not fit its storage of "
                f"{view.storage.count} numbers; the file is damaged."
            )
    return {
        name: LazyTensor(view.shape, view.storage.dtype, partial(_read_view, view, read))
        for name, view in state.items()
    }


def _read_view(view: _View, read: Callable[[_Storage], bytes]) -> np.ndarray:
    if view.storage.dtype == "bfloat16":
        require_bfloat16()
    numbers = np.frombuffer(read(view.storage), np.dtype(view.storage.dtype).newbyteorder("<"))
    strides = [stride * numbers.itemsize for stride in view.strides]
    as_strided = np.lib.stride_tricks.as_strided
    return np.array(as_strided(numbers[view.offset :], view.shape, strides), order="C")


@dataclass(frozen=True, slots=True)
class _Storage:
    """An array of numbers that tensors are views of.

    Attributes:
        key: The name in the file.
        dtype: The name of numpy's type.
        count: The number of elements.
    """

    key: str
    dtype: str
    count: int

    @property
    def size_bytes(self) -> int:
        """The size in the file."""
        return self.count * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)


@dataclass(frozen=True, slots=True)
class _View:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _StorageType:
    """A stand-in for a class such as torch.FloatStorage; it cannot be called."""

    dtype: str


class _RebuildTensor:
    """A stand-in for torch._utils._rebuild_tensor_v2.

    It has no attributes, because a pickle could change those of a function.
    """

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _View:
        sizes = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or len(shape) != len(strides):
            raise ValueError("the description of a tensor is invalid")
        if any(type(size) is not int or not 0 <= size < 2**63 for size in sizes):
            raise ValueError("a tensor has invalid sizes")
        if len(shape) > _MAX_DIMENSIONS:
            raise ValueError(f"a tensor has {len(shape)} dimensions")
        return _View(storage, offset, tuple(shape), tuple(strides))


class _RebuildParameter:
    """A stand-in for torch._utils._rebuild_parameter, which wraps a tensor to be trained."""

    __slots__ = ()

    def __call__(self, data: Any, *_: Any) -> _View:
        if not isinstance(data, _View):
            raise ValueError("the description of a parameter is invalid")
        return data


# The functions of torch._utils that describe tensors.
_REBUILDERS = {
    "_rebuild_tensor_v2": _RebuildTensor,
    "_rebuild_parameter": _RebuildParameter,
    "_rebuild_parameter_with_state": _RebuildParameter,
}


class _Unpickler(pickle._Unpickler):
    """The unpickler in Python, not that in C, whose memo could become larger than the pickle."""

    def __init__(self, file: io.BytesIO, where: Path) -> None:
        super().__init__(file, encoding="utf-8")
        self._where = where
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in _REBUILDERS:
            return _REBUILDERS[name]()
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        raise CheckpointError(
            f"{self._where}: the pickle calls {module}.{name}, and only tensors are allowed. "
            "Nothing was run. Do not load this file with torch unless you trust its source."
        )

    def persistent_load(self, pid: Any) -> _Storage:
        # ("storage", type, key, device, count), and before torch 1.6 a sixth element, None.
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError("the description of a storage is invalid")
        _, kind, key, _, count = pid[:5]
        if pid[5:] not in ((), (None,)):
            raise ValueError("it has views of storages, which torch wrote before 0.4")
        if not isinstance(kind, _StorageType) or type(key) is not str or type(count) is not int:
            raise ValueError("the description of a storage is invalid")
        if not 0 <= count < 2**48:
            raise ValueError(f"a storage holds {count} numbers")
        storage = _Storage(key, kind.dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"two descriptions of the storage {key} differ")
        return storage
