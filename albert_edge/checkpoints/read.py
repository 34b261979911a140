"""What a user may name as the source of weights."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from albert_edge.checkpoints.activation_ranges import read_ranges
from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.huggingface import CONFIG, TOKENIZER_FILES, WEIGHTS, find_huggingface
from albert_edge.checkpoints.init import init_model
from albert_edge.checkpoints.match import CheckpointContents, build_checkpoint
from albert_edge.checkpoints.tensor_file import has_file
from albert_edge.checkpoints.tensorflow1 import find_tensorflow1, is_tensorflow1
from albert_edge.checkpoints.tensorflow2 import find_tensorflow2, is_tensorflow2
from albert_edge.config import PRESETS
from albert_edge.errors import CheckpointError, ConfigError, requires_extra
from albert_edge.tasks import TASKS

__all__ = ["download", "is_hub_id", "read_checkpoint"]

_EMBEDDED = Path(__file__).parent.parent / "models" / "sentiment"
_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
# One kind of weights is enough, and the Hub often has three.
_KINDS = (
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
        source: A directory, recognized by what is in it (see `huggingface`, `tensorflow1`,
            `tensorflow2`, `keras`); the prefix of one TensorFlow checkpoint in a directory of
            several, such as "albert/model.ckpt-1000"; a model of the Hugging Face Hub, such as
            "albert/albert-base-v2"; "default", the model embedded in this package; or the name of
            a preset, which gives random weights, the same ones every time.  What exists here is
            read, whatever its name.
        task: One of `tasks.TASKS`, or "auto" for the head that the checkpoint has.
        allow_nan: Whether weights may be NaN or infinite.
        init_head: Whether a head that the checkpoint lacks is drawn at random, always the same, to
            be trained; the result's `drawn` names its tensors.

    Raises:
        CheckpointError: There is no such source, it is damaged, or it lacks the task's head.
        ConfigError: Its configuration is not an ALBERT's, or the task is unknown.
        MissingExtraError: What reads this kind of source is not installed.

    Example:
        >>> read_checkpoint("albert-base-v2").source
        'albert-base-v2 (random weights)'
    """
    if task not in (*TASKS, "auto"):
        raise ConfigError(f"unknown task {task!r}; choose from {', '.join(TASKS)}, auto.")
    name = os.fspath(source)
    options = {"task": task, "allow_nan": allow_nan, "init_head": init_head}
    # Not Path's own tests, which raise on names that are too long.
    if os.path.isdir(name) or os.path.isfile(f"{name}.index"):  # noqa: PTH112, PTH113
        return _read(Path(name), **options)
    if name == "default":
        return dataclasses.replace(_read(_EMBEDDED, **options), source="default")
    if name in PRESETS:
        return _random_checkpoint(name, "feature-extraction" if task == "auto" else task)
    if is_hub_id(name):
        folder = download(name)
        return dataclasses.replace(_read(folder, **options), source=f"{name}@{folder.name}")
    what = "a file, and a checkpoint is" if os.path.isfile(name) else "not"  # noqa: PTH113
    raise CheckpointError(
        f"{name!r} is {what} a directory. A source is a directory of Hugging Face, of Google's "
        "ALBERT or of Keras weights; a model of the Hub, such as albert/albert-base-v2; 'default' "
        f"for the embedded model; or, with random weights, one of {', '.join(PRESETS)}."
    )


def _find(path: Path) -> CheckpointContents:
    """Find what a directory holds, or the one of its checkpoints that `path` names."""
    if not path.is_dir():
        return find_tensorflow1(path.parent, prefix=path.name)
    if is_tensorflow2(path):
        return find_tensorflow2(path)
    return find_tensorflow1(path) if is_tensorflow1(path) else find_huggingface(path)


def _read(path: Path, **options: Any) -> Checkpoint:
    try:
        found = _find(path)
        checkpoint = build_checkpoint(found, **options)
        ranges = read_ranges(found.directory, checkpoint)
        return dataclasses.replace(checkpoint, ranges=ranges)
    except OSError as error:
        raise CheckpointError(f"cannot read {error.filename}: {error.strerror}.") from error


def _random_checkpoint(name: str, task: str) -> Checkpoint:
    config = PRESETS[name]
    tensors = init_model(config, task)
    return Checkpoint(config=config, task=task, tensors=tensors, source=f"{name} (random weights)")


# A model of the Hugging Face Hub becomes a directory, in the Hub's own cache.


def is_hub_id(name: str) -> bool:
    """Tell whether `name` could be a model of the Hub: its owner, a slash, its own name.

    Example:
        >>> is_hub_id("albert/albert-base-v2"), is_hub_id("./albert"), is_hub_id("a/b/c")
        (True, False, False)
    """
    return len(name) <= 96 and _ID.fullmatch(name) is not None


def download(name: str) -> Path:
    """Return the directory of a model's files, downloaded unless the Hub's cache has them.

    The cache and the network are those of huggingface_hub, and its environment variables hold:
    `HF_HOME`, `HF_TOKEN`, and `HF_HUB_OFFLINE=1` to use the cache alone.

    Raises:
        CheckpointError: There is no such model, or no way to it.
        MissingExtraError: huggingface_hub is not installed.
    """
    with requires_extra():
        import huggingface_hub as hub
        from huggingface_hub import errors
    # HTTPError is that of the HTTP library, which has changed.
    failures = (OSError, ValueError, getattr(errors, "HTTPError", errors.HfHubHTTPError))
    try:
        for kind in _KINDS:
            found = hub.snapshot_download(name, allow_patterns=[CONFIG, *TOKENIZER_FILES, *kind])
            if any(has_file(Path(found), weights) for weights in WEIGHTS):
                break
    except failures as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{name!r} is no directory here, and as a model of the Hugging Face Hub it cannot be "
            f"had: {reason.rstrip('.')}. Check the name and the network, or download it elsewhere "
            "and give its directory."
        ) from error
    return Path(found)
