"""Write a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from albert_edge.errors import OutputError

__all__ = ["check_writable", "write_file"]


def check_writable(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Check that `path` can be written before the work whose result goes there.

    Args:
        path: The file to be written.  Its directory must exist.
        force: Whether an existing file may be replaced.

    Returns:
        `path` as a `Path`.

    Raises:
        OutputError: The file exists and `force` is false, or it can never be written.
    """
    target = Path(path)
    folder = target.parent
    try:
        if target.is_dir():
            raise OutputError(f"{target} is a directory; name a file inside it.")
        if target.exists() and not force:
            raise OutputError(f"{target} exists; give --force to replace it.")
        if not folder.is_dir():
            raise OutputError(f"the directory {folder} does not exist; create it first.")
    except OSError as error:  # a name that is too long, a directory that may not be entered
        raise OutputError(f"cannot write {target}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the directory {folder} cannot be written by this user.")
    return target


def write_file(path: str | os.PathLike[str], blob: bytes, *, force: bool = False) -> Path:
    """Write `blob` to `path`: under a temporary name, synced, then renamed.

    Whatever goes wrong, `path` holds either its old content or all of `blob`.

    Args:
        path: The file to be written.  Its directory must exist.
        blob: The file's whole content.
        force: Whether an existing file may be replaced.

    Returns:
        `path` as a `Path`.

    Raises:
        OutputError: The file exists and `force` is false, or it cannot be written (a full disk).
    """
    target = check_writable(path, force=force)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # mkstemp makes private files; a model is not a secret
        Path(name).replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}.") from error
    finally:
        Path(name).unlink(missing_ok=True)
    return target
