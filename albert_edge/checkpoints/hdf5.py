"""Read and write weights in Keras's HDF5 format: one group per layer, one dataset per variable.

Hugging Face's `tf_model.h5` and the files of `Albert.save_weights("weights.h5")` have this format;
they differ in the names of the variables.
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

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# The scope of transformers' TensorFlow classes, such as tf_albert_for_masked_lm/.
_SCOPE = re.compile(r"tf_albert\w*/")
_TORCH = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}
_H5PY_ERRORS = (
    ArithmeticError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def open_hdf5(path: Path) -> TensorFile:
    """Open a file of Keras: read the names, types and shapes, but no values.

    The variables of transformers' classes get their PyTorch names, as transformers translates them;
    those of this project's model keep their own.

    Raises:
        CheckpointError: The file is damaged, or it has compressed, virtual or external data, which
            Keras does not write.
        MissingExtraError: h5py is not installed.
    """
    try:
        with _h5py().File(path, "r") as file:
            found: dict[str, Any] = {}
            file.visititems(partial(_collect_dataset, found))
            datasets = {name: _shape_and_dtype(dataset, path) for name, dataset in found.items()}
    except _H5PY_ERRORS as error:
        raise _damaged(path, error) from error
    tensors: dict[str, LazyTensor] = {}
    for key, (shape, dtype) in datasets.items():
        name, transposed = _torch_name(key.partition("/")[2].removesuffix(":0"))
        read = partial(_read, path, key, transposed)
        # Keras saves a shared variable with each layer that uses it, such as a decoder.
        if name in tensors and not np.array_equal(tensors[name].read(), read(), equal_nan=True):
            raise CheckpointError(f"{path} has {name} twice, with different values.")
        tensors[name] = LazyTensor(shape[::-1] if transposed else shape, dtype, read)
    return TensorFile(path, (path,), tensors)


def pack_hdf5(layers: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """Return the content of a file for Keras's `load_weights`, deterministically.

    Args:
        layers: The variables by name of each layer, both in the order of the model.

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


def _collect_dataset(found: dict[str, Any], name: str | bytes, item: Any) -> None:
    if not isinstance(name, str):
        raise ValueError(f"it has the name {name!r}")
    # h5py does not visit links to other files.
    if isinstance(item, _h5py().Dataset):
        found[name] = item


def _shape_and_dtype(dataset: Any, path: Path) -> tuple[tuple[int, ...], str]:
    plain = dataset.chunks is None and dataset.external is None and not dataset.is_virtual
    size = dataset.id.get_storage_size()
    if not plain or dataset.nbytes != size or size > path.stat().st_size:
        raise CheckpointError(
            f"{path}: {dataset.name} is compressed, external, or larger than the file; Keras "
            "writes plain datasets."
        )
    return tuple(dataset.shape), dataset.dtype.name


def _torch_name(name: str) -> tuple[str, bool]:
    """Return a variable's name in PyTorch, and whether PyTorch stores the transpose."""
    scope = _SCOPE.match(name)
    if scope is None:
        return name, False
    *parts, last = name[scope.end() :].replace("_._", ".").split("/")
    return ".".join([*parts, _TORCH.get(last, last)]), last == "kernel"


def _read(path: Path, key: str, transposed: bool) -> np.ndarray:
    try:
        with _h5py().File(path, "r") as file:
            values: np.ndarray = file[key][()]
    except _H5PY_ERRORS as error:
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
        f"{path} is not a complete HDF5 file of Keras ({error}): it is damaged or cut short. "
        "Download or save it again."
    )
