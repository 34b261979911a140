"""Weights as Keras saves them in HDF5: a group for each layer, a dataset for each variable.

Hugging Face's `tf_model.h5` is such a file, and so is what `Albert.save_weights("weights.h5")`
writes; the variables' names tell them apart.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.tensor_file import LazyTensor, TensorFile
from albert_edge.errors import CheckpointError, requires_extra

__all__ = ["HDF5_MAGIC", "open_hdf5", "pack_hdf5"]

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# transformers' TensorFlow classes open a scope of their own name: tf_albert_for_masked_lm/...
_SCOPE = re.compile(r"tf_albert\w*/")
_TORCH = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}
_DAMAGE = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


def open_hdf5(path: Path) -> TensorFile:
    """Read the names, types and shapes in a file of Keras; no values yet.

    The variables of transformers' classes get the names that torch's have, as transformers itself
    translates them; those of this project's model keep their own.

    Raises:
        CheckpointError: The file is damaged, or holds anything that Keras does not write:
            compressed, virtual or external data.
        MissingExtraError: h5py is not installed.
    """
    try:
        with _h5py().File(path, "r") as file:
            found: dict[str, Any] = {}
            file.visititems(partial(_visit, found))
            datasets = {name: _check(dataset, path) for name, dataset in found.items()}
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    tensors: dict[str, LazyTensor] = {}
    for place, (shape, kind) in datasets.items():
        name, transposed = _translate(place.partition("/")[2].removesuffix(":0"))
        read = partial(_read, path, place, transposed)
        # A layer that uses another's variables, as a decoder does, holds them once more.
        if name in tensors and not np.array_equal(tensors[name].read(), read(), equal_nan=True):
            raise CheckpointError(f"{path} holds {name} twice, and not the same.")
        tensors[name] = LazyTensor(shape[::-1] if transposed else shape, kind, read)
    return TensorFile(path, (path,), tensors)


def pack_hdf5(layers: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """Return a file that Keras's `load_weights` reads; the same weights give the same bytes.

    Args:
        layers: For each layer, in the model's order, its variables by name, in the layer's order.

    Raises:
        MissingExtraError: h5py is not installed.
    """
    blob = io.BytesIO()
    with _h5py().File(blob, "w") as file:
        file.attrs["layer_names"] = _names(layers)
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2"
        for layer, variables in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = _names(f"{name}:0" for name in variables)
            for name, values in variables.items():
                group.create_dataset(f"{name}:0", data=np.ascontiguousarray(values))
        file.create_group("top_level_model_weights").attrs["weight_names"] = np.array([], "S1")
    return blob.getvalue()


def _visit(found: dict[str, Any], name: str | bytes, thing: Any) -> None:
    if not isinstance(name, str):
        raise ValueError(f"it has the name {name!r}")
    # Only what is in this file itself is visited: links to others are not followed.
    if isinstance(thing, _h5py().Dataset):
        found[name] = thing


def _check(dataset: Any, path: Path) -> tuple[tuple[int, ...], str]:
    plain = dataset.chunks is None and dataset.external is None and not dataset.is_virtual
    size = dataset.id.get_storage_size()
    if not plain or dataset.nbytes != size or size > path.stat().st_size:
        raise CheckpointError(
            f"{path}: {dataset.name} is compressed, elsewhere, or larger than the file; Keras "
            "writes no such thing."
        )
    return tuple(dataset.shape), dataset.dtype.name


def _translate(name: str) -> tuple[str, bool]:
    """Return the name that a variable has in torch, and whether it is the transpose there."""
    scope = _SCOPE.match(name)
    if scope is None:
        return name, False
    *parts, last = name[scope.end() :].replace("_._", ".").split("/")
    return ".".join([*parts, _TORCH.get(last, last)]), last == "kernel"


def _read(path: Path, place: str, transposed: bool) -> np.ndarray:
    try:
        with _h5py().File(path, "r") as file:
            values: np.ndarray = file[place][()]
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    return values.T if transposed else values


def _names(names: Iterable[str]) -> np.ndarray:
    return np.array([name.encode() for name in names])


def _h5py() -> Any:
    with requires_extra():
        import h5py
    return h5py


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a whole HDF5 file of Keras ({error}); it is damaged or cut short. Download "
        "or save it again."
    )
