"""What a user may name as the source of weights."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.hub import download, is_hub_id
from albert_edge.checkpoints.huggingface import find_huggingface
from albert_edge.checkpoints.initial import initial_tensors
from albert_edge.checkpoints.places import Found, make_checkpoint
from albert_edge.checkpoints.ranges import read_ranges
from albert_edge.checkpoints.tensorflow1 import find_tensorflow1, is_tensorflow1
from albert_edge.checkpoints.tensorflow2 import find_tensorflow2, is_tensorflow2
from albert_edge.config import PRESETS, TASKS
from albert_edge.errors import CheckpointError, ConfigError

__all__ = ["read_checkpoint"]

_EMBEDDED = Path(__file__).parent.parent / "models" / "sentiment"


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
        task: One of `config.TASKS`, or "auto" for the head that the checkpoint has.
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
        return _random_checkpoint(name, TASKS[0] if task == "auto" else task)
    if is_hub_id(name):
        folder = download(name)
        return dataclasses.replace(_read(folder, **options), source=f"{name}@{folder.name}")
    what = "a file, and a checkpoint is" if os.path.isfile(name) else "not"  # noqa: PTH113
    raise CheckpointError(
        f"{name!r} is {what} a directory. A source is a directory of Hugging Face, of Google's "
        "ALBERT or of Keras weights; a model of the Hub, such as albert/albert-base-v2; 'default' "
        f"for the embedded model; or, with random weights, one of {', '.join(PRESETS)}."
    )


def _find(path: Path) -> Found:
    """Find what a directory holds, or the one of its checkpoints that `path` names."""
    if not path.is_dir():
        return find_tensorflow1(path.parent, prefix=path.name)
    if is_tensorflow2(path):
        return find_tensorflow2(path)
    return find_tensorflow1(path) if is_tensorflow1(path) else find_huggingface(path)


def _read(path: Path, **options: Any) -> Checkpoint:
    try:
        found = _find(path)
        checkpoint = make_checkpoint(found, **options)
        ranges = read_ranges(found.directory, checkpoint)
        return dataclasses.replace(checkpoint, ranges=ranges)
    except OSError as error:
        raise CheckpointError(f"cannot read {error.filename}: {error.strerror}.") from error


def _random_checkpoint(name: str, task: str) -> Checkpoint:
    config = PRESETS[name]
    tensors = initial_tensors(config, task)
    return Checkpoint(config=config, task=task, tensors=tensors, source=f"{name} (random weights)")
