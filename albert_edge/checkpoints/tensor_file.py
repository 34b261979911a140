"""The tensors in a checkpoint's files, before anyone knows what they are for.

Every format's reader gives a `TensorFile`: what there is, without its values.  So names, shapes and
types are checked before anything is allocated.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.errors import CheckpointError, requires_extra
from albert_edge.files import parse_json

__all__ = [
    "LOSSLESS_DTYPES",
    "LazyTensor",
    "TensorFile",
    "has_file",
    "read_float32",
    "read_json",
    "require_bfloat16",
    "safe_path",
    "sha256_of",
]

# The types that float32 holds exactly.
LOSSLESS_DTYPES = ("float32", "float16", "bfloat16")
_MAX_JSON_BYTES = 2**26  # an index of a million tensors


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """One tensor in a file.

    Attributes:
        shape: As stored.
        kind: The name of its type, as numpy's: "float32", "bfloat16", ...
        read: Reads its values.
    """

    shape: tuple[int, ...]
    kind: str
    read: Callable[[], np.ndarray]


@dataclass(frozen=True, slots=True)
class TensorFile:
    """What the weights' files hold.

    Attributes:
        path: The file or directory, for error messages.
        files: All files, in a fixed order.
        tensors: What is in them, by the format's own names.
    """

    path: Path
    files: tuple[Path, ...]
    tensors: Mapping[str, LazyTensor]


def read_float32(
    store: TensorFile, names: Iterable[str], *, allow_nan: bool = False
) -> Iterator[tuple[str, np.ndarray]]:
    """Read tensors one at a time, so that a large file is never in memory twice.

    Yields:
        A name and its values, float32; float16 and bfloat16 are widened, which is exact.

    Raises:
        CheckpointError: A tensor is of another type, or holds NaN or infinity and `allow_nan` is
            false; the message lists every such tensor.
        MissingExtraError: There is bfloat16, and ml_dtypes is not installed.
    """
    wanted = {name: store.tensors[name] for name in names}
    if foreign := [
        f"{name} is {one.kind}" for name, one in wanted.items() if one.kind not in LOSSLESS_DTYPES
    ]:
        raise CheckpointError(
            f"{store.path}: weights must be of type {', '.join(LOSSLESS_DTYPES)}: "
            f"{'; '.join(foreign)}. Save the checkpoint in float32."
        )
    if any(one.kind == "bfloat16" for one in wanted.values()):
        require_bfloat16()
    broken = []
    for name, one in wanted.items():
        values = one.read()
        if values.shape != one.shape:
            raise CheckpointError(
                f"{store.path}: {name} was to have shape {list(one.shape)} and has "
                f"{list(values.shape)}; the file is damaged."
            )
        values = values.astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            broken.append(name)
        yield name, values
    if broken and not allow_nan:
        raise CheckpointError(
            f"{store.path}: NaN or infinity in {', '.join(broken)}; the training that made this "
            "checkpoint diverged, or the file is damaged. --allow-nan (allow_nan=True) reads it."
        )


def require_bfloat16() -> None:
    """Register bfloat16 as a NumPy dtype.

    Raises:
        MissingExtraError: ml_dtypes is not installed.
    """
    with requires_extra():
        import ml_dtypes  # noqa: F401 (this import registers the dtype)


def sha256_of(files: Iterable[Path]) -> str:
    """Return the hexadecimal SHA-256 of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


# The files of a checkpoint's directory, which may have come from anybody.


def safe_path(folder: Path, name: object, *, where: Path | None = None) -> Path:
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
    if not has_file(folder, name):
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


def has_file(folder: Path, name: str) -> bool:
    """Tell whether `folder` has a file called `name`."""
    return os.path.isfile(folder / name)  # noqa: PTH113 (Path.is_file raises on names too long)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        CheckpointError: The file is not a JSON object, or it is unreasonably large.
    """
    if (size := path.stat().st_size) > _MAX_JSON_BYTES:
        raise CheckpointError(f"{path} has {size} bytes; at most {_MAX_JSON_BYTES} are read.")
    return parse_json(path.read_bytes(), where=str(path), error=CheckpointError)
