"""Read a checkpoint from any source: a directory, a model of the Hub, or a name of a built-in one.

A model of the Hugging Face Hub is downloaded to the Hub's own cache, and read from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.activation_ranges import RANGES_FILE, pack_ranges, read_ranges
from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.hdf5 import pack_hdf5
from albert_edge.checkpoints.huggingface import (
    ADAPTER_FILES,
    CONFIG,
    KERAS_NAMING,
    KERAS_WEIGHTS,
    WEIGHTS,
    config_json,
    find_huggingface,
    huggingface_files,
)
from albert_edge.checkpoints.init import init_model
from albert_edge.checkpoints.match import CheckpointContents, build_checkpoint, rename_tensors
from albert_edge.checkpoints.tensor_file import has_file
from albert_edge.checkpoints.tensorflow1 import CONFIG as GOOGLES_CONFIG
from albert_edge.checkpoints.tensorflow1 import (
    SPIECE,
    find_tensorflow1,
    is_tensorflow1,
    tensorflow1_files,
)
from albert_edge.checkpoints.tensorflow2 import find_tensorflow2, is_tensorflow2
from albert_edge.checkpoints.tflite_file import find_tflite, is_tflite
from albert_edge.config import PRESETS
from albert_edge.errors import CheckpointError, ConfigError, OutputError, requires_extra
from albert_edge.files import (
    EMBEDDED_MODELS,
    check_writable,
    embedded_model,
    recover_folder,
    write_folder,
)
from albert_edge.tasks import TASKS
from albert_edge.tokenizer.config import TOKENIZER_FILES

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
# The Hub often has the same weights in several formats; one is downloaded.
_HUB_WEIGHTS = (
    ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"],
    ["*.h5"],
)
# The files beside the weights and the configuration, of every format.
_COMPANIONS = {*TOKENIZER_FILES, SPIECE, RANGES_FILE}


def read_checkpoint(
    source: str | os.PathLike[str],
    *,
    task: str = "auto",
    allow_nan: bool = False,
    init_head: bool = False,
) -> Checkpoint:
    """Read the weights that `source` names.

    Args:
        source: A directory, whose format is recognized by its files (see `huggingface`,
            `tensorflow1` and `tensorflow2`); the prefix of one TensorFlow checkpoint in a directory
            of several, such as "albert/model.ckpt-1000"; a model of the Hugging Face Hub, such as
            "albert/albert-base-v2"; a model embedded in this package ("default", "questions",
            "embeddings"); a `.tflite` file of this project, see `tflite_file`; or the name of a
            preset, for random weights, which are always the same.  An existing directory takes
            precedence over all other meanings of its name.
        task: One of `tasks.TASKS`, or "auto" for the head that the checkpoint has.
        allow_nan: Whether weights may be NaN or infinite.
        init_head: Whether to initialize a missing head randomly, always with the same values, to be
            trained; see `Checkpoint.randomly_initialized`.

    Raises:
        CheckpointError: There is no such source, it is damaged, or it lacks the task's head.
        ConfigError: Its configuration is not an ALBERT's, or the task is unknown.
        MissingExtraError: The package that reads this kind of source is not installed.

    Example:
        >>> read_checkpoint("albert-base-v2").source
        'albert-base-v2 (random weights)'
    """
    if task not in (*TASKS, "auto"):
        raise ConfigError(f"unknown task {task!r}; choose from {', '.join(TASKS)}, auto.")
    name = os.fspath(source)
    options = {"task": task, "allow_nan": allow_nan, "init_head": init_head}
    with contextlib.suppress(OSError):  # such as a name that is too long
        recover_folder(name)
    # Not Path.is_dir, which raises on names that are too long.
    if os.path.isdir(name) or os.path.isfile(f"{name}.index"):  # noqa: PTH112, PTH113
        return _read(Path(name), **options)
    if name in EMBEDDED_MODELS:
        folder = embedded_model(name)
        weights = folder if has_file(folder, CONFIG) else folder / "model.tflite"
        return dataclasses.replace(_read(weights, **options), source=name)
    if os.path.isfile(name) and is_tflite(Path(name)):  # noqa: PTH113
        return _read(Path(name), **options)
    if name in PRESETS:
        return _random_checkpoint(name, "feature-extraction" if task == "auto" else task)
    if is_hub_id(name):
        folder = _download(name)
        return dataclasses.replace(_read(folder, **options), source=f"{name}@{folder.name}")
    what = "a file, and a checkpoint is" if os.path.isfile(name) else "not"  # noqa: PTH113
    raise CheckpointError(
        f"{name!r} is {what} a directory. A source is a directory of Hugging Face, of Google's "
        "ALBERT or of Keras weights; a model of the Hub, such as albert/albert-base-v2; a .tflite "
        f"file of albert_edge; an embedded model: {', '.join(EMBEDDED_MODELS)}; or, for random "
        f"weights, one of {', '.join(PRESETS)}."
    )


def is_hub_id(name: str) -> bool:
    """Return whether `name` has the form of a model of the Hub: OWNER/NAME.

    Example:
        >>> is_hub_id("albert/albert-base-v2"), is_hub_id("./albert"), is_hub_id("a/b/c")
        (True, False, False)
    """
    return len(name) <= 96 and _HUB_ID.fullmatch(name) is not None


def _open(path: Path) -> CheckpointContents:
    """Open a directory, or the TensorFlow checkpoint with the prefix `path`."""
    if not path.is_dir():
        if is_tflite(path):
            return find_tflite(path)
        return find_tensorflow1(path.parent, prefix=path.name)
    if has_file(path, CONFIG) and not has_file(path, "saved_model.pb"):
        return find_huggingface(path)
    if is_tensorflow2(path):
        return find_tensorflow2(path)
    return find_tensorflow1(path) if is_tensorflow1(path) else find_huggingface(path)


def _read(path: Path, **options: Any) -> Checkpoint:
    try:
        contents = _open(path)
        checkpoint = build_checkpoint(contents, **options)
        if has_file(contents.directory, RANGES_FILE):
            ranges = read_ranges(contents.directory, checkpoint)
            checkpoint = dataclasses.replace(checkpoint, ranges=ranges)
        return checkpoint
    except OSError as error:
        raise CheckpointError(f"cannot read {error.filename}: {error.strerror}.") from error


def _random_checkpoint(name: str, task: str) -> Checkpoint:
    config = PRESETS[name]
    tensors = init_model(config, task)
    return Checkpoint(
        config=config,
        task=task,
        tensors=tensors,
        source=f"{name} (random weights)",
        randomly_initialized=tuple(tensors),
        notes=(f"the trained weights are those of albert/{name}, on the Hugging Face Hub",),
    )


def _download(name: str) -> Path:
    """Return the directory of a model of the Hub, downloaded unless the Hub's cache has it.

    The environment variables of huggingface_hub apply: `HF_HOME`, `HF_TOKEN`, and
    `HF_HUB_OFFLINE=1` to use only the cache.
    """
    with requires_extra():
        import huggingface_hub as hub
        from huggingface_hub import errors
    # HTTPError is that of the HTTP library, which is another one in later versions.
    failures = (OSError, ValueError, getattr(errors, "HTTPError", errors.HfHubHTTPError))
    try:
        for weights in _HUB_WEIGHTS:
            patterns = [CONFIG, *TOKENIZER_FILES, *ADAPTER_FILES, *weights]
            folder = Path(hub.snapshot_download(name, allow_patterns=patterns))
            if any(has_file(folder, file) for file in WEIGHTS):
                break
    except failures as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{name!r} is not a directory, and a model of this name cannot be downloaded from the "
            f"Hugging Face Hub: {reason.rstrip('.')}. Check the name and the network, or download "
            "the model elsewhere and give its directory."
        ) from error
    return folder


# Write a checkpoint to a directory, in the format of Hugging Face, Google or Keras.


def write_checkpoint(
    directory: str | os.PathLike[str],
    checkpoint: Checkpoint,
    *,
    to: str = "huggingface",
    force: bool = False,
) -> None:
    """Write a directory that `read_checkpoint` and the format's own software can read.

    A model with a `head_dim` is beyond Hugging Face's AlbertModel, which then reports its shapes.

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
