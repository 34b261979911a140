"""A checkpoint becomes a directory, in a format that others read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.folder import holds
from albert_edge.checkpoints.huggingface import (
    CONFIG,
    TOKENIZER_FILES,
    WEIGHTS,
    huggingface_files,
)
from albert_edge.checkpoints.keras import keras_files
from albert_edge.checkpoints.ranges import RANGES, pack_ranges
from albert_edge.checkpoints.tensorflow1 import CONFIG as GOOGLES_CONFIG
from albert_edge.checkpoints.tensorflow1 import SPIECE, tensorflow1_files
from albert_edge.errors import ConfigError, OutputError
from albert_edge.files import check_writable, write_file

__all__ = ["FORMATS", "write_checkpoint"]

_WRITERS: dict[str, Callable[[Checkpoint], dict[str, bytes]]] = {
    "huggingface": huggingface_files,
    "tensorflow1": tensorflow1_files,
    "keras": keras_files,
}
FORMATS = tuple(_WRITERS)
_BESIDE = {*TOKENIZER_FILES, SPIECE, RANGES}


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
        files = {RANGES: pack_ranges(checkpoint), **files}
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
    if there := [name for name in sorted(others - files.keys()) if holds(folder, name)]:
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
