"""The two containers that torch.save has written: a zip, and before torch 1.6 a row of pickles."""

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

__all__ = ["LEGACY_MAGIC", "ZIP_MAGIC", "Storage", "load_pickle", "open_torch", "tensors_of"]

ZIP_MAGIC = b"PK\x03\x04"
# pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), torch's magic number.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MOST_PICKLE_BYTES = 2**24  # the description of a tensor takes about 300 bytes
_ZIP_DAMAGE = (
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
_MOST_DIMENSIONS = 8
_KINDS = {
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
# What pickle's machine, run on bytes that are no pickle, is known to raise.
_PICKLE_DAMAGE = (
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
    """Read the names, types and shapes in a file that torch.save wrote; no values yet.

    Raises:
        CheckpointError: The file is damaged, its sizes are lies, or its pickle would run code.
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
    except _ZIP_DAMAGE as error:
        raise _damaged(path, error) from error
    if order not in (b"", b"little"):
        raise CheckpointError(f"{path} has its numbers in the byte order {order!r}; save it again.")
    state, storages = load_pickle(io.BytesIO(blob), path)
    for key, storage in storages.items():
        if (size := sizes.get(f"{folder}data/{key}")) != storage.size_bytes:
            raise CheckpointError(
                f"{path}: the storage {key} should have {storage.size_bytes} bytes and has "
                f"{size or 'none'}; the file is damaged."
            )

    def read(storage: Storage) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(f"{folder}data/{storage.key}")
        except _ZIP_DAMAGE as error:
            raise _damaged(path, error) from error

    return tensors_of(state, read, path)


def _check_entries(archive: zipfile.ZipFile, path: Path) -> tuple[str, dict[str, int]]:
    """Return the folder that torch put everything in, and the bytes of each entry by name."""
    entries = archive.infolist()
    sizes = {entry.filename: entry.file_size for entry in entries}
    if packed := [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
        raise CheckpointError(
            f"{path} is a zip with compressed entries ({packed[0]}), which torch never writes."
        )
    if len(sizes) < len(entries) or sum(sizes.values()) > path.stat().st_size:
        raise CheckpointError(f"{path} is a zip whose entries are larger than it or not distinct.")
    pickles = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1 or sizes[pickles[0]] > _MOST_PICKLE_BYTES:
        raise CheckpointError(f"{path} is a zip, and not one of torch's: it needs one data.pkl.")
    return pickles[0].removesuffix("data.pkl"), sizes


def _open_legacy(path: Path) -> dict[str, LazyTensor]:
    """Open what torch wrote before 1.6: five pickles, then the storages in the last one's order."""
    with path.open("rb") as file:
        head = io.BytesIO(file.read(_MOST_PICKLE_BYTES))
    _, (version, _), (system, _), (state, storages), (keys, _) = [
        load_pickle(head, path) for _ in range(5)
    ]
    if version != 1001 or not isinstance(system, dict) or not system.get("little_endian"):
        raise CheckpointError(f"{path} is of a version that torch does not write; save it again.")
    named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not named or sorted(keys) != sorted(storages):
        raise CheckpointError(f"{path} does not hold the storages of its tensors; it is damaged.")
    starts, start = {}, head.tell()
    for key in keys:
        starts[key] = start + 8  # after the count
        start = starts[key] + storages[key].size_bytes
    if start > path.stat().st_size:
        raise CheckpointError(
            f"{path} is cut short: it should have {start} bytes. Download it again."
        )

    def read(storage: Storage) -> bytes:
        with path.open("rb") as file:
            file.seek(starts[storage.key] - 8)
            count = int.from_bytes(file.read(8), "little")
            if count != storage.count:
                raise CheckpointError(
                    f"{path}: the storage {storage.key} should have {storage.count} numbers and "
                    f"has {count}; the file is damaged."
                )
            return file.read(storage.size_bytes)

    return tensors_of(state, read, path)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a whole torch file ({error}); it is damaged or cut short. Download or save "
        "it again."
    )


# A `pytorch_model.bin`: tensors out of a pickle, without torch and without running the pickle.
#
# A pickle is a program: it may call any function that it can name. This one may name what
# describes a tensor and nothing else, and what it gets to call only writes the description down.


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers that tensors are views of.

    Attributes:
        key: Its name in the file.
        kind: The name of its type, as numpy's.
        count: How many numbers.
    """

    key: str
    kind: str
    count: int

    @property
    def size_bytes(self) -> int:
        """The bytes that it takes in the file."""
        sizes = {"bfloat16": 2, "bool": 1}
        return self.count * (sizes.get(self.kind) or np.dtype(self.kind).itemsize)


@dataclass(frozen=True, slots=True)
class _View:
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What stands for a class such as torch.FloatStorage; it cannot be called."""

    name: str


class _Rebuild:
    """What stands for torch._utils._rebuild_tensor_v2.

    An object without attributes: those of a function could be changed by the pickle.
    """

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _View:
        sizes = (offset, *shape, *strides)
        if not isinstance(storage, Storage) or len(shape) != len(strides):
            raise ValueError("a tensor is described wrongly")
        if any(type(size) is not int or not 0 <= size < 2**63 for size in sizes):
            raise ValueError("a tensor has impossible sizes")
        if len(shape) > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {len(shape)} dimensions")
        return _View(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler, not C's: a pickle cannot make its memo larger than itself."""

    def __init__(self, file: io.BytesIO, where: Path) -> None:
        super().__init__(file, encoding="utf-8")
        self._where = where
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Rebuild()
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _KINDS:
            return _Kind(_KINDS[name])
        raise CheckpointError(
            f"{self._where}: the pickle wants {module}.{name}, and only tensors are let in. "
            "Nothing was run; do not load this file with torch either, unless you know why."
        )

    def persistent_load(self, pid: Any) -> Storage:
        # torch: ("storage", type, key, device, count), before 1.6 with a sixth that is None.
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError("a storage is described wrongly")
        _, kind, key, _, count = pid[:5]
        if pid[5:] not in ((), (None,)):
            raise ValueError("it has views of storages, as torch wrote before 0.4")
        if not isinstance(kind, _Kind) or type(key) is not str or type(count) is not int:
            raise ValueError("a storage is described wrongly")
        if not 0 <= count < 2**48:
            raise ValueError(f"a storage holds {count} numbers")
        storage = Storage(key, kind.name, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"the storage {key} is described twice, differently")
        return storage


def load_pickle(file: io.BytesIO, where: Path) -> tuple[Any, dict[str, Storage]]:
    """Read the next pickle in `file`.

    Returns:
        What it holds, with descriptions for tensors (see `tensors_of`), and the storages that
        these are in, by key.

    Raises:
        CheckpointError: The pickle is damaged, or names anything but what describes tensors; the
            message tells what.
    """
    unpickler = _Unpickler(file, where)
    try:
        return unpickler.load(), unpickler.storages
    except _PICKLE_DAMAGE as error:
        what = str(error) or type(error).__name__
        raise CheckpointError(f"{where} holds no pickle of tensors: {what}.") from error


def tensors_of(state: Any, read: Callable[[Storage], bytes], where: Path) -> dict[str, LazyTensor]:
    """Return the tensors of a state dict, which must hold nothing else.

    Args:
        state: What `load_pickle` returned.
        read: Reads all bytes of a storage.
        where: For error messages.

    Raises:
        CheckpointError: It is no state dict, or a tensor reaches out of its storage.
    """
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{where} holds no state dict; save model.state_dict().")
    if strange := [name for name, view in state.items() if not isinstance(view, _View)]:
        raise CheckpointError(
            f"{where} holds more than tensors: {', '.join(strange)}; save model.state_dict()."
        )
    for name, view in state.items():
        reach = view.offset + sum(
            (size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)
        )
        size, floating = math.prod(view.shape), "float" in view.storage.kind
        # One number that fills a whole weight (stride 0) would be a bomb.
        if size and (reach >= view.storage.count or (floating and size > view.storage.count)):
            raise CheckpointError(
                f"{where}: {name} {list(view.shape)} does not fit its storage of "
                f"{view.storage.count} numbers; the file is damaged."
            )
    return {
        name: LazyTensor(view.shape, view.storage.kind, partial(_storage_values, view, read))
        for name, view in state.items()
    }


def _storage_values(view: _View, read: Callable[[Storage], bytes]) -> np.ndarray:
    if view.storage.kind == "bfloat16":
        require_bfloat16()
    numbers = np.frombuffer(read(view.storage), np.dtype(view.storage.kind).newbyteorder("<"))
    strides = [stride * numbers.itemsize for stride in view.strides]
    view_of = np.lib.stride_tricks.as_strided
    return np.array(view_of(numbers[view.offset :], view.shape, strides), order="C")
