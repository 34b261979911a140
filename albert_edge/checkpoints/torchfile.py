"""The two containers that torch.save has written: a zip, and before torch 1.6 a row of pickles."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from albert_edge.checkpoints.pickled import Storage, load_pickle, tensors_of
from albert_edge.checkpoints.store import Store, Stored
from albert_edge.errors import CheckpointError

__all__ = ["LEGACY_MAGIC", "ZIP_MAGIC", "open_torch"]

ZIP_MAGIC = b"PK\x03\x04"
# pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), torch's magic number.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

_MOST_PICKLE_BYTES = 2**24  # the description of a tensor takes about 300 bytes
_DAMAGE = (EOFError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


def open_torch(path: Path) -> Store:
    """Read the names, types and shapes in a file that torch.save wrote; no values yet.

    Raises:
        CheckpointError: The file is damaged, its sizes are lies, or its pickle would run code.
    """
    with path.open("rb") as file:
        zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    return Store(path, (path,), _open_zip(path) if zipped else _open_legacy(path))


def _open_zip(path: Path) -> dict[str, Stored]:
    try:
        with zipfile.ZipFile(path) as archive:
            folder, sizes = _check_entries(archive, path)
            blob = archive.read(f"{folder}data.pkl")
            order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in sizes else b""
    except _DAMAGE as error:
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
        except _DAMAGE as error:
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


def _open_legacy(path: Path) -> dict[str, Stored]:
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
