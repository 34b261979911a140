"""A safetensors file: what is in it, and its values as float32."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from albert_edge.errors import CheckpointError, MissingExtraError

__all__ = ["file_sha256", "pack_tensors", "read_header", "read_tensors"]

# The types that float32 holds exactly.
_EXACT = ("F32", "F16", "BF16")


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes in a safetensors file; no values yet.

    Raises:
        CheckpointError: The file is unreadable, truncated, or not safetensors.
        MissingExtraError: safetensors is not installed.
    """
    with _open(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def read_tensors(path: Path, names: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Read tensors one at a time, so that a large file is never in memory twice.

    Yields:
        A name and its values, float32; float16 and bfloat16 are widened, which is exact.

    Raises:
        CheckpointError: A tensor is of another type, or holds NaN or infinity; the message lists
            every such tensor.
        MissingExtraError: safetensors is not installed, or ml_dtypes and the file has bfloat16.
    """
    with _open(path) as file:
        names = list(names)
        kinds = {name: file.get_slice(name).get_dtype() for name in names}
        if foreign := [f"{name} is {kind}" for name, kind in kinds.items() if kind not in _EXACT]:
            raise CheckpointError(
                f"{path}: weights must be of type {', '.join(_EXACT)}: {'; '.join(foreign)}. "
                "Save the checkpoint in float32."
            )
        if "BF16" in kinds.values():
            _register_bfloat16()
        broken = []
        for name in names:
            values = file.get_tensor(name).astype(np.float32, copy=False)
            if not np.isfinite(values).all():
                broken.append(name)
            yield name, values
        if broken:
            raise CheckpointError(
                f"{path}: NaN or infinity in {', '.join(broken)}; the training that made this "
                "checkpoint diverged, or the file is damaged."
            )


def pack_tensors(tensors: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of a safetensors file; the same tensors give the same bytes."""
    contiguous = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    # transformers wants to be told that the tensors are in torch's layout.
    blob: bytes = _safetensors().numpy.save(contiguous, metadata={"format": "pt"})
    return blob


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise MissingExtraError("safetensors", "convert") from error
    return safetensors


def _register_bfloat16() -> None:
    try:
        import ml_dtypes  # noqa: F401 (numpy knows bfloat16 once this is imported)
    except ModuleNotFoundError as error:
        raise MissingExtraError("ml_dtypes", "convert") from error


def _open(path: Path) -> Any:
    module = _safetensors()
    try:
        return module.safe_open(path, framework="numpy")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}.") from error
    except module.SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}); it is damaged, cut short, or of "
            "another format. Download or save it again."
        ) from error
