"""Read and write files: atomic writes, strict JSON, and the folder of the embedded model."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from albert_edge.errors import AlbertEdgeError, OutputError

__all__ = ["EMBEDDED_MODEL", "check_writable", "parse_json", "write_file"]

# The folder of the model that is called "default": a checkpoint, its tokenizer and `model.tflite`.
EMBEDDED_MODEL = Path(__file__).parent / "models" / "sentiment"


def check_writable(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Check that `path` can be written, before starting the work whose result goes there.

    Args:
        path: The file to write.  Its directory must exist.
        force: Whether an existing file may be replaced.

    Returns:
        `path` as a `Path`.

    Raises:
        OutputError: The file exists and `force` is false, or it cannot be written.
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
    except OSError as error:  # the name is too long, or a directory is not accessible
        raise OutputError(f"cannot write {target}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"this user may not write to the directory {folder}; choose another.")
    return target


def write_file(path: str | os.PathLike[str], blob: bytes, *, force: bool = False) -> Path:
    """Write `blob` to `path` atomically: to a temporary file, which is synced and then renamed.

    After any failure `path` has either its old content or all of `blob`.

    Args:
        path: The file to write.  Its directory must exist.
        blob: The content of the file.
        force: Whether an existing file may be replaced.

    Returns:
        `path` as a `Path`.

    Raises:
        OutputError: The file exists and `force` is false, or it cannot be written, as on a full
            disk.
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
        Path(name).chmod(0o666 & ~umask)  # mkstemp creates private files
        Path(name).replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}.") from error
    finally:
        Path(name).unlink(missing_ok=True)
    return target


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


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {key!r} occurs twice")
    return values
