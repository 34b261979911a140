"""The files of a checkpoint's directory, which may have come from anybody."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from albert_edge.errors import CheckpointError

__all__ = ["holds", "member", "read_json"]

_MOST_JSON_BYTES = 2**26  # an index of a million tensors


def member(folder: Path, name: object, *, where: Path | None = None) -> Path:
    """Return the path of the file called `name` in `folder`.

    A link may not lead out of the directory, except to where the Hub's cache keeps contents:
    what is read is packed into the file that a user gives away.

    Args:
        folder: A checkpoint's directory.
        name: What to look for.
        where: The file that names it, for error messages.

    Raises:
        CheckpointError: It is no plain file name, there is no such file, or it is a link that
            leads out of the directory.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}:
        raise CheckpointError(
            f"{where or folder} names {name!r}, which is no file in its own directory; no other "
            "is read."
        )
    path = folder / name
    if not holds(folder, name):
        raise CheckpointError(
            f"{where or folder} names {name}, and {folder} has no such file; is the download "
            "complete?"
        )
    real, home = path.resolve(), folder.resolve()
    # The Hub's cache: snapshots/REVISION/NAME is a link to blobs/HASH.
    cached = home.parent.name == "snapshots" and real.parent == home.parents[1] / "blobs"
    if not cached and not real.is_relative_to(home):
        raise CheckpointError(
            f"{path} is a link to {real}, outside of its directory; copy the file there."
        )
    return path


def holds(folder: Path, name: str) -> bool:
    """Tell whether `folder` has a file called `name`."""
    return os.path.isfile(folder / name)  # noqa: PTH113 (Path.is_file raises on names too long)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object whose keys are all different.

    Raises:
        CheckpointError: It is none, or is larger than any real one.
    """
    try:
        if path.stat().st_size > _MOST_JSON_BYTES:
            raise ValueError("it is too large")
        values = json.loads(path.read_bytes(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a JSON object: {error}.") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object but {type(values).__name__}.")
    return values


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"it has the key {twice!r} twice")
    return values
