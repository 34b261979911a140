"""Read a checkpoint from any source: a directory, a model of the Hub, or a name of a built-in one.

A model of the Hugging Face Hub is downloaded to the Hub's own cache, and read from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from albert_edge.checkpoints.activation_ranges import read_ranges
from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.huggingface import (
    ADAPTER_FILES,
    CONFIG,
    TOKENIZER_FILES,
    WEIGHTS,
    find_huggingface,
)
from albert_edge.checkpoints.init import init_model
from albert_edge.checkpoints.match import CheckpointContents, build_checkpoint
from albert_edge.checkpoints.tensor_file import has_file
from albert_edge.checkpoints.tensorflow1 import find_tensorflow1, is_tensorflow1
from albert_edge.checkpoints.tensorflow2 import find_tensorflow2, is_tensorflow2
from albert_edge.config import PRESETS
from albert_edge.errors import CheckpointError, ConfigError, requires_extra
from albert_edge.files import embedded_model, recover_folder
from albert_edge.tasks import TASKS

__all__ = ["is_hub_id", "read_checkpoint"]

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
# The Hub often has the same weights in several formats; one is downloaded.
_HUB_WEIGHTS = (
    ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"],
    ["*.h5"],
)


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
            "albert/albert-base-v2"; "default", the model embedded in this package; or the name of a
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
    if name == "default":
        return dataclasses.replace(_read(embedded_model(), **options), source="default")
    if name in PRESETS:
        return _random_checkpoint(name, "feature-extraction" if task == "auto" else task)
    if is_hub_id(name):
        folder = _download(name)
        return dataclasses.replace(_read(folder, **options), source=f"{name}@{folder.name}")
    what = "a file, and a checkpoint is" if os.path.isfile(name) else "not"  # noqa: PTH113
    raise CheckpointError(
        f"{name!r} is {what} a directory. A source is a directory of Hugging Face, of Google's "
        "ALBERT or of Keras weights; a model of the Hub, such as albert/albert-base-v2; 'default' "
        f"for the embedded model; or, for random weights, one of {', '.join(PRESETS)}."
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
        ranges = read_ranges(contents.directory, checkpoint)
        return dataclasses.replace(checkpoint, ranges=ranges)
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
