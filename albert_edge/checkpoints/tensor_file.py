"""Read the files of a checkpoint: names, types and shapes first, then one tensor at a time.

Every format's reader returns a `TensorFile`, so that names, shapes and types are checked before any
memory is allocated.  A checkpoint may come from anybody: only files in its own directory are read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.errors import AlbertEdgeError, CheckpointError, requires_extra
from albert_edge.files import open_input, parse_json, read_input

# The types whose values float32 represents exactly.
LOSSLESS_DTYPES = ("float32", "float16", "bfloat16")
_MAX_JSON_BYTES = 2**26  # an index of a million tensors


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor in a file, which is read on demand.

    Attributes:
        shape: The shape in the file.
        dtype: The name of numpy's type: "float32", "bfloat16", ...
        read: Reads the values.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


@dataclass(frozen=True, slots=True)
class TensorFile:
    """The tensors in a checkpoint's files of weights.

    Attributes:
        path: The file or directory, for error messages.
        files: All files, in a fixed order.
        tensors: The tensors, by the names in the file.
    """

    path: Path
    files: tuple[Path, ...]
    tensors: Mapping[str, LazyTensor]


def read_float32(
    file: TensorFile, names: Iterable[str], *, allow_nan: bool = False
) -> Iterator[tuple[str, np.ndarray]]:
    """Read tensors one at a time, so that a large file is never in memory twice.

    Yields:
        A name and its values, float32; float16 and bfloat16 are widened, which is exact.

    Raises:
        CheckpointError: A tensor has another type, or NaN or infinity while `allow_nan` is false;
            the message lists every such tensor.
        MissingExtraError: A tensor is bfloat16, and ml_dtypes is not installed.
    """
    tensors = {name: file.tensors[name] for name in names}
    if unsupported := [
        f"{name} is {tensor.dtype}"
        for name, tensor in tensors.items()
        if tensor.dtype not in LOSSLESS_DTYPES
    ]:
        raise CheckpointError(
            f"{file.path}: weights must be of type {', '.join(LOSSLESS_DTYPES)}: "
            f"{'; '.join(unsupported)}. Save the checkpoint in float32."
        )
    if any(tensor.dtype == "bfloat16" for tensor in tensors.values()):
        require_bfloat16()
    not_finite = []
    for name, tensor in tensors.items():
        values = tensor.read()
        if values.shape != tensor.shape:
            raise CheckpointError(
                f"{file.path}: {name} has shape {list(values.shape)}, expected "
                f"{list(tensor.shape)}; the file is damaged."
            )
        values = values.astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            not_finite.append(name)
        yield name, values
    if not_finite and not allow_nan:
        raise CheckpointError(
            f"{file.path}: NaN or infinity in {', '.join(not_finite)}; training diverged, or the "
            "file is damaged. --allow-nan (allow_nan=True) reads it."
        )


def require_bfloat16() -> None:
    """Register bfloat16 with numpy.

    Raises:
        MissingExtraError: ml_dtypes is not installed.
    """
    with requires_extra():
        import ml_dtypes  # noqa: F401 (importing it registers the type)


def sha256_of(files: Iterable[Path]) -> str:
    """Return the hexadecimal SHA-256 of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in files:
        with open_input(path) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def safe_path(folder: Path, name: object, *, where: Path | None = None) -> Path:
    """Return the path of the file called `name` in `folder`.

    A link may not lead out of the directory, because a file that is read can be packed into the
    converted model, which is given to others.  Only links into the Hub's cache are allowed.

    Args:
        folder: The directory of a checkpoint.
        name: The name of the file.
        where: The file that refers to it, for error messages.

    Raises:
        CheckpointError: The name is not a plain file name, there is no such file, or the file is a
            link that leads out of the directory.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}:
        raise CheckpointError(
            f"{where or folder} names {name!r}, which is not a file in the same directory; only "
            "such files are read."
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
    """Return whether `folder` has a file called `name`."""
    return os.path.isfile(folder / name)  # noqa: PTH113 (Path.is_file raises on names too long)


def read_json(path: Path, *, error: type[AlbertEdgeError] = CheckpointError) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        AlbertEdgeError: Of the class `error`: the file is not a JSON object, or is larger than any
            real one.
    """
    try:
        content = read_input(path, max_bytes=_MAX_JSON_BYTES)
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror}.") from reason
    return parse_json(content, where=str(path), error=error)
