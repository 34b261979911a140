"""The zip archive behind a model: written uncompressed, checked strictly when read."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from albert_edge.errors import BundleError
from albert_edge.files import EMBEDDED_MODEL, parse_json

__all__ = [
    "ALIGNMENT",
    "MAGIC_BYTES",
    "append_archive",
    "locate",
    "open_archive",
    "read_json",
    "read_member",
]

# The model begins and ends at multiples of a cache line, and so of the 16 bytes by which TFLite's
# kernels require memory-mapped weights to be aligned.
ALIGNMENT = 64
MAGIC_BYTES = 2**16  # contains everything that packing writes before the model
# The largest published tokenizer is under 20 MB: a larger archive is an attack or a mistake.
_MAX_ARCHIVE_BYTES = 64 * 2**20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that zip can store
# Exceptions that `zipfile` raises on a damaged archive, besides OSError.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def locate(source: str | os.PathLike[str] | bytes) -> Path | bytes:
    """Return a path: the embedded model's for "default"; return bytes as they are.

    A file called `default` in the working directory is `./default`.
    """
    if isinstance(source, bytes):
        return source
    if source == "default":
        return EMBEDDED_MODEL / "model.tflite"
    return Path(source)


def append_archive(model: bytes, members: Mapping[str, bytes]) -> bytes:
    """Append an uncompressed zip archive; the same arguments give the same bytes."""
    file = io.BytesIO()
    file.write(model)  # in front, so that the archive's offsets count from the file's beginning
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, wherever this runs
            info.external_attr = 0o644 << 16
            archive.writestr(info, members[name])
    return file.getvalue()


def read_json(where: str, archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Read the JSON object in the member `name`.

    Raises:
        BundleError: There is no such member, or it is not a JSON object.
    """
    content = read_member(where, archive, name)
    return parse_json(content, where=f"{where} is damaged: {name}", error=BundleError)


def read_member(where: str, archive: zipfile.ZipFile, name: str) -> bytes:
    """Read the member `name`.

    Raises:
        BundleError: There is no such member.
    """
    if name not in archive.namelist():
        raise BundleError(
            f"{where} is incomplete: there is no {name} in it. Convert the model with albert_edge."
        )
    return archive.read(name)


@contextmanager
def open_archive(source: str | os.PathLike[str] | bytes) -> Iterator[tuple[str, zipfile.ZipFile]]:
    """Open the archive behind a model and check it; errors inside the block are the file's too.

    Args:
        source: A path, a file's content, or "default".

    Yields:
        The file's name for messages, and the archive.

    Raises:
        BundleError: The file is missing, damaged, of another program, or holds too much.
    """
    located = locate(source)
    where = "the model" if isinstance(located, bytes) else str(located)
    try:
        with io.BytesIO(located) if isinstance(located, bytes) else located.open("rb") as file:
            _check_head(where, file.read(MAGIC_BYTES), zipped=zipfile.is_zipfile(file))
            with zipfile.ZipFile(file) as archive:
                _check_members(where, archive.infolist())
                yield where, archive
    except OSError as error:
        raise BundleError(f"cannot read {where}: {error.strerror or error}.") from error
    except _ZIP_ERRORS as error:
        raise BundleError(f"{where} is damaged: {error}.") from error


def _check_head(where: str, head: bytes, *, zipped: bool) -> None:
    if head[4:8] != b"TFL3":
        raise BundleError(f"{where} is not a .tflite file: it begins with {head[:8]!r}.")
    if not zipped and b"TFLITE_METADATA" in head:
        raise BundleError(f"{where} is cut short: the files behind its model are missing.")
    if not zipped:
        raise BundleError(
            f"{where} has no configuration in it (no TFLite Metadata archive): it is cut short or "
            "was not made by albert_edge. Convert the checkpoint with albert_edge."
        )


def _check_members(where: str, members: list[zipfile.ZipInfo]) -> None:
    counts = Counter(member.filename for member in members)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise BundleError(f"{where} is damaged: it holds {', '.join(twice)} twice.")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise BundleError(
                f"{where}: {member.filename} is compressed; TFLite Metadata files are stored plain."
            )
    if (total := sum(member.file_size for member in members)) > _MAX_ARCHIVE_BYTES:
        raise BundleError(
            f"{where} holds {total} bytes of files; at most {_MAX_ARCHIVE_BYTES} are read."
        )
