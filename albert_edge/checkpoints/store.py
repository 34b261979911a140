"""The tensors in a checkpoint's files, before anyone knows what they are for.

Every format's reader gives a `Store`: what there is, without its values.  So names, shapes and
types are checked before anything is allocated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from albert_edge.errors import CheckpointError, MissingExtraError

__all__ = ["EXACT", "Store", "Stored", "read_float32", "require_bfloat16", "sha256_of"]

# The types that float32 holds exactly.
EXACT = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Stored:
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
class Store:
    """What the weights' files hold.

    Attributes:
        path: The file or directory, for error messages.
        files: All files, in a fixed order.
        tensors: What is in them, by the format's own names.
    """

    path: Path
    files: tuple[Path, ...]
    tensors: Mapping[str, Stored]


def read_float32(
    store: Store, names: Iterable[str], *, allow_nan: bool = False
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
        f"{name} is {one.kind}" for name, one in wanted.items() if one.kind not in EXACT
    ]:
        raise CheckpointError(
            f"{store.path}: weights must be of type {', '.join(EXACT)}: {'; '.join(foreign)}. "
            "Save the checkpoint in float32."
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
    """Make numpy know bfloat16.

    Raises:
        MissingExtraError: ml_dtypes is not installed.
    """
    try:
        import ml_dtypes  # noqa: F401 (numpy knows bfloat16 once this is imported)
    except ModuleNotFoundError as error:
        raise MissingExtraError("ml_dtypes", "convert") from error


def sha256_of(files: Iterable[Path]) -> str:
    """Return the hexadecimal SHA-256 of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()
