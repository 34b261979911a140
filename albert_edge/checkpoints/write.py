"""A checkpoint becomes a directory, in a format that others read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from albert_edge.checkpoints.activation_ranges import RANGES_FILE, pack_ranges
from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.hdf5 import pack_hdf5
from albert_edge.checkpoints.huggingface import (
    CONFIG,
    KERAS_NAMING,
    KERAS_WEIGHTS,
    TOKENIZER_FILES,
    WEIGHTS,
    config_json,
    huggingface_files,
)
from albert_edge.checkpoints.match import rename_tensors
from albert_edge.checkpoints.tensor_file import has_file
from albert_edge.checkpoints.tensorflow1 import CONFIG as GOOGLES_CONFIG
from albert_edge.checkpoints.tensorflow1 import SPIECE, tensorflow1_files
from albert_edge.errors import ConfigError, OutputError
from albert_edge.files import check_writable, write_file

__all__ = ["FORMATS", "keras_files", "write_checkpoint"]


# This project's own Keras weights: `config.json` and `keras_weights.h5`.


def keras_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files of a directory that this project reads, whatever the task.

    Keras's own `Albert.load_weights` reads the weights too, but for heads that predict words:
    these it wants to hold the word embeddings once more.

    Raises:
        CheckpointError: The tensors do not fit the configuration and the task.
        MissingExtraError: h5py is not installed.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, values in rename_tensors(checkpoint, KERAS_NAMING).items():
        layers.setdefault(_layer(name), {})[name] = values
    return {
        KERAS_WEIGHTS: pack_hdf5(layers),
        **checkpoint.tokenizer_files,
        CONFIG: config_json(checkpoint),
    }


def _layer(name: str) -> str:
    """Name the layer of the Keras model that a tensor is of; no two have the same name."""
    part, *rest = name.split("/")
    if part == "encoder":
        return "_".join(rest[:2])  # group_0_layer_0
    return part if part == "embeddings" else "head"


_WRITERS: dict[str, Callable[[Checkpoint], dict[str, bytes]]] = {
    "huggingface": huggingface_files,
    "tensorflow1": tensorflow1_files,
    "keras": keras_files,
}
FORMATS = tuple(_WRITERS)
_BESIDE = {*TOKENIZER_FILES, SPIECE, RANGES_FILE}


def write_checkpoint(
    directory: str | os.PathLike[str],
    checkpoint: Checkpoint,
    *,
    to: str = "huggingface",
    force: bool = False,
) -> None:
    """Write a directory that `read_checkpoint` and the format's own software read.

    The same checkpoint gives the same bytes.  The configuration is written last: a directory
    without it is not a checkpoint.

    Args:
        directory: Made if it does not exist; its parent must.
        checkpoint: What to write.
        to: One of `FORMATS`.
        force: Whether a checkpoint that is there already may be replaced.

    Raises:
        CheckpointError: The tensors do not fit the configuration and the task, or the format
            cannot say what the checkpoint is.
        ConfigError: There is no such format.
        OutputError: A file exists and `force` is false, or cannot be written.
        MissingExtraError: What writes the format is not installed.
    """
    if to not in FORMATS:
        raise ConfigError(f"unknown checkpoint format {to!r}; choose from {', '.join(FORMATS)}.")
    folder = Path(directory)
    files = _WRITERS[to](checkpoint)
    if checkpoint.ranges:
        files = {RANGES_FILE: pack_ranges(checkpoint), **files}
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the directory {folder}: {error.strerror}.") from error
    _check_room(folder, files, force=force)
    for name, content in files.items():
        write_file(folder / name, content, force=force)
    for name in _BESIDE - files.keys():
        _remove(folder / name)  # an old tokenizer must not pass for the new model's


def _check_room(folder: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Check that `files` can be written and will be the only checkpoint in `folder`."""
    others = {*WEIGHTS, CONFIG, GOOGLES_CONFIG, *(path.name for path in folder.glob("*.index"))}
    if there := [name for name in sorted(others - files.keys()) if has_file(folder, name)]:
        raise OutputError(
            f"{folder} holds a checkpoint of another format ({', '.join(there)}); choose another "
            "directory."
        )
    for name in (*list(files)[::-1], *_BESIDE):  # the configuration is the one to name
        check_writable(folder / name, force=force)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror}.") from error
