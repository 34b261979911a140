"""Read and write safetensors files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from albert_edge.checkpoints.tensor_file import LazyTensor, TensorFile, require_bfloat16
from albert_edge.errors import CheckpointError, requires_extra

_DTYPES = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    "BF16": "bfloat16",
}


def open_safetensors(path: Path) -> TensorFile:
    """Open a safetensors file: read the names, types and shapes, but no values.

    Raises:
        CheckpointError: The file is unreadable, cut short, or not a safetensors file.
        MissingExtraError: safetensors is not installed.
    """
    tensors = {}
    with _open(path) as file:
        for name in file.keys():  # noqa: SIM118
            header = file.get_slice(name)
            dtype = _DTYPES.get(header.get_dtype(), header.get_dtype())
            read = partial(_read, path, name, dtype)
            tensors[name] = LazyTensor(tuple(header.get_shape()), dtype, read)
    return TensorFile(path, (path,), tensors)


def pack_tensors(tensors: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of a safetensors file; the same tensors give the same bytes."""
    contiguous = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    # transformers requires this statement that the tensors have torch's layout.
    blob: bytes = _safetensors().numpy.save(contiguous, metadata={"format": "pt"})
    return blob


def _read(path: Path, name: str, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        require_bfloat16()
    with _open(path) as file:
        values: np.ndarray = file.get_tensor(name)
    return values


def _safetensors() -> ModuleType:
    with requires_extra():
        import safetensors.numpy
    return safetensors


def _open(path: Path) -> Any:
    module = _safetensors()
    try:
        return module.safe_open(path, framework="numpy")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}.") from error
    except module.SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}): it is damaged, cut short, or of "
            "another format. Download or save it again."
        ) from error
