"""Read and write files: regular files only, atomic writes, strict JSON, and the embedded model.

A file name may come from anybody, and the file system may be any: a read never waits for a pipe or
grows with a device; a write leaves the old file or the new one, on a full disk too, and on mounts
that have no permissions, links or locks.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any

from albert_edge.errors import AlbertEdgeError, OutputError

__all__ = [
    "EMBEDDED_MODELS",
    "MAX_ARCHIVE_BYTES",
    "add_members",
    "cache_folder",
    "check_members",
    "check_writable",
    "dump_json",
    "embedded_model",
    "open_input",
    "parse_json",
    "read_input",
    "recover_folder",
    "write_file",
    "write_folder",
]

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_MAX_NAME_BYTES = 255  # of a file's name, on all common file systems
_PARTIAL = ".partial"  # ends the names of temporary files
_RANDOM_BYTES = 4
# Of `fsync` where the file system cannot do it, and of `link` where it has no links.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_CANNOT_LINK = (*_CANNOT_SYNC, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EMLINK)


# The models embedded in this package: name → folder.
EMBEDDED_MODELS = {"default": "sentiment", "questions": "questions", "embeddings": "embeddings"}


@cache
def embedded_model(name: str = "default") -> Path:
    """Return the folder of an embedded model, with `model.tflite`; `default` is a checkpoint too.

    If the package is imported from a zip file, the folder is a temporary copy.
    """
    import atexit
    from importlib import resources

    packed = resources.files("albert_edge") / "models" / EMBEDDED_MODELS[name]
    if isinstance(packed, Path):
        return packed
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for member in packed.iterdir():
        (folder / member.name).write_bytes(member.read_bytes())
    return folder


def cache_folder(name: str) -> Path:
    """Return the folder where what was fetched or made for `name` is kept; it may not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "albert_edge", name)


def open_input(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading; symbolic links are followed.

    Raises:
        OSError: It cannot be opened, or it is a pipe, a socket, a device or a directory, whose
            reading could wait or go on for ever.  `strerror` says so.
    """
    _require_regular(path, Path(path).stat())
    # Not to wait for a writer, should a pipe be put there now.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(handle, "rb")
    try:
        _require_regular(path, os.fstat(handle))
    except OSError:
        file.close()
        raise
    return file


def read_input(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> bytes:
    """Read a regular file.

    Args:
        path: The file.
        max_bytes: The largest size that is read; None for no bound.

    Raises:
        OSError: See `open_input`; or it is larger than `max_bytes`.
    """
    with open_input(path) as file:
        content = file.read() if max_bytes is None else file.read(max_bytes + 1)
    if max_bytes is not None and len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it has over {max_bytes:,} bytes", str(path))
    return content


def _require_regular(path: str | os.PathLike[str], status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "no file")
        raise OSError(errno.EINVAL, f"it is {what}, not a regular file", str(path))


# The largest published tokenizer is under 20 MB: a larger archive is an attack or a mistake.
MAX_ARCHIVE_BYTES = 64 * 2**20


def check_writable(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Check that `path` can be written, before starting the work whose result goes there.

    Args:
        path: The file to write.  Its directory must exist.  A symbolic link is followed.
        force: Whether an existing file may be replaced; a pipe, a socket or a device never is.

    Returns:
        `path` as a `Path`.

    Raises:
        OutputError: The file exists and `force` is false, or it cannot be written.
    """
    target = Path(path)
    try:
        status = _status(target)
        folder = target.resolve().parent if target.is_symlink() else target.parent
        if status is not None and not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no file")
            advice = "name a file inside it" if kind == "a directory" else "name a regular file"
            raise OutputError(f"{target} is {kind}; {advice}.")
        if status is not None and not force:
            raise _exists(target)
        if not folder.is_dir():
            raise OutputError(f"the directory {folder} does not exist; create it first.")
    except (OSError, RuntimeError) as error:  # a name too long, no access, or a circle of links
        raise _cannot_write(target, error) from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"this user may not write to the directory {folder}; choose another.")
    return target


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _exists(target: Path) -> OutputError:
    return OutputError(f"{target} exists; give --force to replace it.")


def _cannot_write(target: Path, error: Exception) -> OutputError:
    return OutputError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}.")


def write_file(path: str | os.PathLike[str], blob: bytes, *, force: bool = False) -> Path:
    """Write `blob` to `path` atomically: to a temporary file, which is synced and then renamed.

    After any failure `path` has either its old content or all of `blob`.  A file that is replaced
    keeps its permissions; of a symbolic link the target is replaced.  If the process is killed, a
    file `.NAME.*.partial` stays, which the next write to `path` removes.

    Args:
        path: The file to write.  Its directory must exist.
        blob: The content of the file.
        force: Whether an existing file may be replaced.  If not, of several processes that write a
            new file at the same time all but one get an error.

    Returns:
        `path` as a `Path`.

    Raises:
        OutputError: The file exists and `force` is false, or it cannot be written, as on a full
            disk.
    """
    target = check_writable(path, force=force)
    try:
        real = target.resolve() if target.is_symlink() else target
        with _temporary_file(real) as (handle, name):
            with open(handle, "wb", closefd=False) as file:
                file.write(blob)
            _sync(handle)
            if force:
                name.replace(real)
            else:
                _link(name, real)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError as error:
        raise _cannot_write(target, error) from error
    return target


@contextmanager
def _temporary_file(target: Path) -> Iterator[tuple[int, Path]]:
    """Create a temporary file beside `target`, with the permissions that `target` has or will get.

    While it is written it is locked, so that only those of killed processes are removed.
    """
    stem = f".{target.name}."
    if len(os.fsencode(stem)) > _MAX_NAME_BYTES - 2 * _RANDOM_BYTES - len(_PARTIAL):
        stem = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()}."
    _remove_leftovers(target.parent, stem)
    old = _status(target)
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode)
    handle, name = _create_locked(target.parent, stem, mode)
    try:
        if old is not None:
            with suppress(OSError):  # not every file system or user can
                os.fchown(handle, old.st_uid, old.st_gid)
            with suppress(OSError):
                os.fchmod(handle, mode)
        yield handle, name
    finally:
        name.unlink(missing_ok=True)
        os.close(handle)


def _create_locked(folder: Path, stem: str, mode: int) -> tuple[int, Path]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    while True:
        name = folder / f"{stem}{os.urandom(_RANDOM_BYTES).hex()}{_PARTIAL}"
        try:
            handle = os.open(name, flags, mode)
        except FileExistsError:
            continue
        if _lock(handle) is not False and name.exists():
            return handle, name
        os.close(handle)  # another writer took it for a leftover before it was locked


def _remove_leftovers(folder: Path, stem: str) -> None:
    pattern = re.compile(f"{re.escape(stem)}[0-9a-f]{{{2 * _RANDOM_BYTES}}}{re.escape(_PARTIAL)}")
    found: list[str] = []
    with suppress(OSError):  # this user may write to the folder, and not list it
        found = [name for name in os.listdir(folder) if pattern.fullmatch(name)]  # noqa: PTH208
    for name in found:
        with suppress(OSError):  # another process removed it, or it is another user's
            handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(handle):
                    (folder / name).unlink(missing_ok=True)
            finally:
                os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an open file; False if another writer has, None where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _link(name: Path, target: Path) -> None:
    """Give a file a second name, which must be new; without links, claim the name and rename."""
    try:
        target.hardlink_to(name)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        name.replace(target)


def dump_json(values: Any, **options: Any) -> str:
    """Write a value as JSON.

    Args:
        values: The value; its numbers are finite.
        options: Those of `json.dumps`, such as `indent`.

    Raises:
        OutputError: A number is NaN or infinite, which JSON cannot express.

    Example:
        >>> dump_json({"score": 0.5})
        '{"score": 0.5}'
    """
    try:
        return json.dumps(values, allow_nan=False, **options)
    except ValueError as error:
        raise OutputError(
            "the result has a number that is NaN or infinite, which JSON cannot express; the "
            "model or its input is damaged."
        ) from error


def write_folder(
    path: str | os.PathLike[str], files: Mapping[str, bytes], *, remove: Collection[str] = ()
) -> None:
    """Write files into a folder, all of them or none, whenever the process is killed.

    A new folder beside `path` gets the files, and hard links to all others that `path` has; then
    the two folders are exchanged.  Where that is impossible, as `path` is a mount point or its
    parent belongs to another user, the last file is removed first and written last: without it the
    folder is neither the old one nor the new one, and is not read.

    Args:
        path: The folder, created if only its parent exists.
        files: The contents by name.  They replace files of these names.
        remove: The names of further files that the folder shall not have.

    Raises:
        OutputError: The folder cannot be written.
    """
    folder = Path(os.path.realpath(path))
    try:
        recover_folder(folder)
        _remove_folders(folder)
        if not _swap_folder(folder, files, remove):
            for name in (list(files)[-1], *remove):
                (folder / name).unlink(missing_ok=True)
            for name, content in files.items():
                write_file(folder / name, content, force=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}.") from error


def recover_folder(path: str | os.PathLike[str]) -> None:
    """Rename a folder back, if a killed process had renamed it aside to replace it."""
    folder = Path(os.path.realpath(path))
    aside = _aside(folder)
    if os.path.lexists(aside):
        if folder.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(folder)


# What renaming or linking answers where folders cannot be exchanged.
_NOT_SWAPPABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.EMLINK),
    *(errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENAMETOOLONG),
}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's renameat2


def _swap_folder(folder: Path, files: Mapping[str, bytes], remove: Collection[str]) -> bool:
    """Replace a folder by a new one; return whether it can be replaced."""
    new = lock = None
    try:
        new = Path(tempfile.mkdtemp(prefix=_prefix(folder), suffix=".new", dir=folder.parent))
        lock = os.open(new, os.O_RDONLY)
        _lock(lock)
        _fill(new, folder, files, remove)
        if folder.exists():
            _exchange(new, folder)
        else:
            new.rename(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        # In a folder that does not exist, nothing can be written in place either.
        if error.errno in _NOT_SWAPPABLE and folder.exists():
            return False
        raise
    finally:
        for rest in filter(None, (new, _aside(folder))):
            shutil.rmtree(rest, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    return True


def _fill(new: Path, folder: Path, files: Mapping[str, bytes], remove: Collection[str]) -> None:
    """Write the content of the new folder, with the permissions of the old one."""
    umask = os.umask(0)
    os.umask(umask)
    for name, content in files.items():
        try:
            with (new / name).open("xb") as file:
                file.write(content)
                file.flush()
                _sync(file.fileno())
        except OSError as error:  # such as a full disk
            raise OutputError(f"cannot write {folder / name}: {error.strerror}.") from error
        with suppress(FileNotFoundError):
            shutil.copymode(folder / name, new / name)
    if folder.exists():
        _link_others(folder, new, {*files, *remove})
        shutil.copymode(folder, new)
    else:
        new.chmod(0o777 & ~umask)
    _sync_folder(new)


def _link_others(folder: Path, new: Path, known: Collection[str]) -> None:
    for entry in os.scandir(folder):
        if entry.name in known:
            continue
        target = new / entry.name
        if entry.is_dir(follow_symlinks=False):
            target.mkdir()
            _link_others(Path(entry.path), target, ())
            shutil.copymode(entry.path, target)
        else:
            os.link(entry.path, target, follow_symlinks=False)


def _exchange(new: Path, folder: Path) -> None:
    """Exchange two folders: at once where the system can, else by way of a third name."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        names = os.fsencode(new), os.fsencode(folder)
        if not rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
            return
        if (code := ctypes.get_errno()) not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            raise OSError(code, os.strerror(code))
    folder.rename(_aside(folder))
    new.rename(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _prefix(folder: Path) -> str:
    return f".{folder.name[:50]}."


def _remove_folders(folder: Path) -> None:
    """Remove the new folders of killed processes; those of living ones are locked."""
    for entry in os.scandir(folder.parent):
        if not (entry.name.startswith(_prefix(folder)) and entry.name.endswith(".new")):
            continue
        with suppress(OSError):
            lock = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _lock(lock):
                    shutil.rmtree(entry.path)
            finally:
                os.close(lock)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def parse_json(content: bytes | str, *, where: str, error: type[AlbertEdgeError]) -> dict[str, Any]:
    """Parse a JSON object, in which no key may occur twice.

    Args:
        content: The document.
        where: The name of the file, for error messages.
        error: The class of the errors to raise.

    Raises:
        AlbertEdgeError: Of the class `error`: the content is not a JSON object, or a key of an
            object occurs twice.

    Example:
        >>> parse_json('{"labels": ["no", "yes"]}', where="config.json", error=OutputError)
        {'labels': ['no', 'yes']}
    """
    try:
        values = json.loads(content, object_pairs_hook=_without_duplicates)
        if b"\\u" in (content if isinstance(content, bytes) else content.encode("utf-8")):
            # Half of a character: nothing could be printed or written that contains it.
            json.dumps(values, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as reason:
        raise error(
            f"{where} contains {reason.object[reason.start]!r}, a lone surrogate, which is not a "
            "character."
        ) from reason
    except (ValueError, RecursionError) as reason:
        raise error(f"{where} is not JSON: {reason}.") from reason
    if not isinstance(values, dict):
        raise error(f"{where}: expected a JSON object, got {type(values).__name__}.")
    return values


def add_members(
    hashed: Any, members: Mapping[str, bytes], *, manifest: str, stored: str | None
) -> str:
    """Add the members of a `.tflite` file's archive to the hash of what stands before them.

    Args:
        hashed: The hash.
        members: The members by name.
        manifest: The member that holds the digest.
        stored: The digest in it, for which zeros are counted; None in files without one.

    Returns:
        The digest, in hexadecimal digits.
    """
    for name, content in sorted(members.items()):
        if name == manifest and stored is not None:
            content = content.replace(stored.encode(), b"0" * len(stored), 1)
        hashed.update(f"{name}\0{len(content)}\0".encode())
        hashed.update(content)
    return str(hashed.hexdigest())


def check_members(
    where: str, members: Sequence[zipfile.ZipInfo], *, error: type[AlbertEdgeError]
) -> None:
    """Check, before any of them is read, that the members of a zip archive are plain and few.

    Args:
        where: The name of the archive, for error messages.
        members: Its members.
        error: The class of the errors to raise.

    Raises:
        AlbertEdgeError: Of the class `error`: a member occurs twice or is compressed, or they hold
            more than 64 MiB.
    """
    counts = Counter(member.filename for member in members)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise error(f"{where} is damaged: it holds {', '.join(twice)} twice.")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise error(
                f"{where}: {member.filename} is compressed; TFLite Metadata files are stored plain."
            )
    if (total := sum(member.file_size for member in members)) > MAX_ARCHIVE_BYTES:
        raise error(f"{where} holds {total} bytes of files; at most {MAX_ARCHIVE_BYTES} are read.")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {key!r} occurs twice")
    return values
