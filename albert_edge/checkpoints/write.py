"""Write a checkpoint to a directory, in the format of Hugging Face, Google or Keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
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
from albert_edge.files import check_writable, recover_folder, write_folder

__all__ = ["FORMATS", "check_folder", "write_checkpoint"]

# The files beside the weights and the configuration, of every format.
_COMPANIONS = {*TOKENIZER_FILES, SPIECE, RANGES_FILE}


def write_checkpoint(
    directory: str | os.PathLike[str],
    checkpoint: Checkpoint,
    *,
    to: str = "huggingface",
    force: bool = False,
) -> None:
    """Write a directory that `read_checkpoint` and the format's own software can read.

    The bytes are deterministic.  Whenever the process is killed, the directory has the old
    checkpoint or the new one as a whole, and all other files that it had.

    Args:
        directory: The directory, created if only its parent exists.
        checkpoint: The checkpoint to write.
        to: One of `FORMATS`.
        force: Whether to replace a checkpoint that exists in the directory.

    Raises:
        CheckpointError: The tensors do not match the configuration and the task, or the format
            cannot represent the checkpoint.
        ConfigError: There is no such format.
        OutputError: A file exists and `force` is false, or it cannot be written.
        MissingExtraError: The package that writes the format is not installed.
    """
    if to not in _WRITERS:
        raise ConfigError(f"unknown checkpoint format {to!r}; choose from {', '.join(FORMATS)}.")
    folder = Path(directory)
    files = _WRITERS[to](checkpoint)
    if checkpoint.ranges:
        files = {RANGES_FILE: pack_ranges(checkpoint), **files}
    _check_conflicts(folder, files, force=force)
    # An old tokenizer would be taken for the new model's.
    write_folder(folder, files, remove=_COMPANIONS - files.keys())


def check_folder(
    directory: str | os.PathLike[str], *, more: Iterable[str] = (), force: bool = False
) -> None:
    """Check that `write_checkpoint` can write a directory, before the work of making a checkpoint.

    Args:
        directory: The directory to write in Hugging Face's format.
        more: The names of further files that will be written.
        force: Whether files in it may be replaced.

    Raises:
        OutputError: It cannot be written, or has a file of a checkpoint and `force` is false.
    """
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a directory.")
    _check_conflicts(folder, (*more, WEIGHTS[0], CONFIG), force=force)


def _check_conflicts(folder: Path, files: Collection[str], *, force: bool) -> None:
    """Check that `files` can be written, and that `folder` has no checkpoint of another format."""
    recover_folder(folder)
    if not folder.is_dir():
        check_writable(folder)
        return
    others = {*WEIGHTS, CONFIG, GOOGLES_CONFIG, *(path.name for path in folder.glob("*.index"))}
    if existing := [name for name in sorted(others - {*files}) if has_file(folder, name)]:
        raise OutputError(
            f"{folder} has a checkpoint of another format ({', '.join(existing)}); choose another "
            "directory."
        )
    for name in (*list(files)[::-1], *_COMPANIONS):  # the configuration first, for the error
        check_writable(folder / name, force=force)


def _keras_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files of this project's own format: `config.json` and `keras_weights.h5`.

    Keras's `Albert.load_weights` reads the weights too, except with a masked-language-model head,
    for which it expects a second copy of the word embeddings.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, values in rename_tensors(checkpoint, KERAS_NAMING).items():
        layers.setdefault(_keras_layer(name), {})[name] = values
    return {
        KERAS_WEIGHTS: pack_hdf5(layers),
        **checkpoint.tokenizer_files,
        CONFIG: config_json(checkpoint),
    }


def _keras_layer(name: str) -> str:
    """Return the unique name of the Keras layer that a tensor belongs to."""
    part, *rest = name.split("/")
    if part == "encoder":
        return "_".join(rest[:2])  # group_0_layer_0
    return part if part == "embeddings" else "head"


_WRITERS: dict[str, Callable[[Checkpoint], dict[str, bytes]]] = {
    "huggingface": huggingface_files,
    "tensorflow1": tensorflow1_files,
    "keras": _keras_files,
}
FORMATS = tuple(_WRITERS)
