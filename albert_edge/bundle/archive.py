"""The zip archive behind a model: written uncompressed, checked strictly when read."""

from __future__ import annotations

import io
import mmap
import os
import struct
import weakref
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert_edge.errors import BundleError, InputError
from albert_edge.files import EMBEDDED_MODELS, check_members, embedded_model, open_input, parse_json

# The model begins and ends at multiples of a cache line, and so of the 16 bytes by which TFLite's
# kernels require memory-mapped weights to be aligned.
ALIGNMENT = 64
MAGIC_BYTES = 2**16  # contains everything that packing writes before the model
HOST = "host.tflite"  # of a folder of the target `edgetpu`
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
    """Return a path: an embedded model's for its name; return bytes as they are.

    A file called `default` in the working directory is `./default`.  Of a folder of the target
    `edgetpu` the path is that of its host graph.
    """
    if isinstance(source, bytes):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            f"a model is given as a path, as bytes or by an embedded model's name, not as "
            f"{source!r}; of an open file, give its name or what its read() returns."
        )
    if source in EMBEDDED_MODELS:
        return embedded_model(str(source)) / "model.tflite"
    path = Path(source)
    try:
        return path / HOST if (path / HOST).is_file() else path
    except OSError:  # a name too long, or no access: whoever opens it reports it
        return path


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


class OpenFile:
    """A file that is opened once, however much of it is read: another in its place changes nothing.

    It is closed with the last reference to this object.

    Attributes:
        where: What to call it in a message.
        path: Its path; None for one that is in memory.
        members: The files in the archive behind its model, by name.
        front_bytes: How many bytes stand before the archive: the model and its TFLite Metadata.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes, *, has_archive: bool = True) -> None:
        """Open a path, a file's content, or an embedded model.

        Args:
            source: What to open.
            has_archive: Whether it must have an archive behind its model; if not, none is read.

        Raises:
            BundleError: The file is missing, not a regular file, foreign, damaged, or carries too
                much.
        """
        located = locate(source)
        self.where = "the model" if isinstance(located, bytes) else str(located)
        self._content = located if isinstance(located, bytes) else None
        self.path = None if isinstance(located, bytes) else located
        try:
            # Not buffered: what is read again is what is in the file then.
            self._file: Any = (
                io.BytesIO(located) if isinstance(located, bytes) else open_input(located).detach()
            )
            weakref.finalize(self, self._file.close)
            self.members, self.front_bytes = (
                _read_archive(self.where, self._file)
                if has_archive
                else ({}, self._file.seek(0, os.SEEK_END))
            )
        except OSError as error:
            raise BundleError(f"cannot read {self.where}: {error.strerror or error}.") from error
        except _ZIP_ERRORS as error:
            raise BundleError(f"{self.where} is damaged: {error}.") from error
        self._sha256 = b""
        self._stat = self._state()

    def fileno(self) -> int | None:
        """Return the file's descriptor, None for one that is in memory."""
        return None if self.path is None else self._file.fileno()

    def place(self) -> Path | bytes:
        """Return what a runtime can open: the content, or a path that leads to this very file."""
        if self.path is None:
            return self._content or b""
        for folder in ("/proc/self/fd", "/dev/fd"):
            if (path := Path(folder, str(self._file.fileno()))).exists():
                return path
        return self.path

    def view(self) -> Any:
        """Return the part before the archive, mapped into memory or in bytes."""
        if self._content is not None:
            return self._content[: self.front_bytes]
        # Not closed explicitly: an error's traceback may still refer to arrays over it.
        if (populate := getattr(mmap, "MAP_POPULATE", None)) is None:
            return mmap.mmap(self._file.fileno(), self.front_bytes, access=mmap.ACCESS_READ)
        flags = mmap.MAP_SHARED | populate  # one fault for all pages: a third of the time
        return mmap.mmap(self._file.fileno(), self.front_bytes, flags, mmap.PROT_READ)

    def sha256(self, view: Any) -> Any:
        """Return a hash of `view`, to which more can be added."""
        import hashlib  # takes milliseconds, which a file opened without checks need not spend

        hashed = hashlib.sha256(view)
        self._sha256 = hashed.digest()
        return hashed

    def digest(self) -> str:
        """Return the SHA-256 of the part before the archive, in hexadecimal digits."""
        if not self._sha256:
            self.sha256(self.view())
        return self._sha256.hex()

    def check_unchanged(self) -> None:
        """Check that nobody has written to the file since it was opened.

        The runtime has it mapped into memory: what is cut off ends the process when it is read.

        Raises:
            BundleError: It is shorter, or its model has changed.
        """
        state = self._state()
        if state == self._stat:
            return
        known = self._sha256
        if state[0] < self._stat[0] or (known and self.sha256(self.view()).digest() != known):
            raise BundleError(
                f"{self.where} was changed while it was open; load it again. Put a new file in its "
                "place by renaming it: who has the old one open keeps it."
            )
        self._stat = state

    def _state(self) -> tuple[int, int]:
        if self.path is None:
            return 0, 0
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns


def _read_archive(where: str, file: Any) -> tuple[dict[str, bytes], int]:
    _check_head(where, file.read(MAGIC_BYTES), zipped=zipfile.is_zipfile(file))
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        check_members(where, infos, error=BundleError)
        begin = min((info.header_offset for info in infos), default=0)
        return {info.filename: archive.read(info) for info in infos}, begin


def read_json(where: str, members: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """Read the JSON object in the member `name`.

    Raises:
        BundleError: There is no such member, or it is no JSON object.
    """
    content = read_member(where, members, name)
    return parse_json(content, where=f"{where} is damaged: {name}", error=BundleError)


def read_member(where: str, members: Mapping[str, bytes], name: str) -> bytes:
    """Return the member `name`.

    Raises:
        BundleError: There is no such member.
    """
    if name not in members:
        raise BundleError(
            f"{where} is incomplete: there is no {name} in it. Convert the model with albert_edge."
        )
    return members[name]


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
