"""A checkpoint becomes a directory, in a format that others read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.huggingface import CONFIG, TOKENIZER_FILES, huggingface_files
from albert_edge.checkpoints.keras import keras_files
from albert_edge.checkpoints.tensorflow1 import tensorflow1_files
from albert_edge.errors import ConfigError, OutputError
from albert_edge.files import check_writable, write_file

__all__ = ["FORMATS", "write_checkpoint"]

_WRITERS: dict[str, Callable[[Checkpoint], dict[str, bytes]]] = {
    "huggingface": huggingface_files,
    "tensorflow1": tensorflow1_files,
    "keras": keras_files,
}
FORMATS = tuple(_WRITERS)


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
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the directory {folder}: {error.strerror}.") from error
    for name in (CONFIG, *files, *TOKENIZER_FILES):
        check_writable(folder / name, force=force)
    for name, content in files.items():
        write_file(folder / name, content, force=force)
    for name in set(TOKENIZER_FILES) - files.keys():
        _remove(folder / name)  # an old tokenizer must not pass for the new model's


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror}.") from error
