"""A checkpoint becomes a Keras model."""

from __future__ import annotations

import os
from types import MappingProxyType

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.modeling.albert import Albert
from albert_edge.modeling.layers import assign

__all__ = ["from_checkpoint", "load_keras"]


def load_keras(
    source: str | os.PathLike[str],
    *,
    task: str = "auto",
    init_head: bool = False,
    allow_nan: bool = False,
) -> Albert:
    """Read a checkpoint into a Keras model.

    Args:
        source: A directory, a model of the Hub, "default", or a preset; see `read_checkpoint`.
        task: One of `tasks.TASKS`, or "auto" for the head that the checkpoint has.
        init_head: Whether a head that the checkpoint lacks is drawn at random, to be trained.
        allow_nan: Whether weights may be NaN or infinite.

    Returns:
        The model, with the checkpoint's tokenizer files and provenance.

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or it lacks the head.
        ConfigError: Its configuration is not an ALBERT's, or the task is unknown.
        MissingExtraError: What reads this kind of source is not installed.

    Example:
        >>> load_keras("albert-base-v2").provenance["source"]
        'albert-base-v2 (random weights)'
    """
    checkpoint = read_checkpoint(source, task=task, init_head=init_head, allow_nan=allow_nan)
    return from_checkpoint(checkpoint)


def from_checkpoint(checkpoint: Checkpoint) -> Albert:
    """Build the Keras model of `checkpoint`.

    Raises:
        CheckpointError: Its tensors do not fit its configuration and task.
    """
    pooler = "pooler/kernel" in checkpoint.tensors
    model = Albert(checkpoint.config, task=checkpoint.task, pooler=pooler)
    assign(model, checkpoint.tensors)
    model.tokenizer_files = dict(checkpoint.tokenizer_files)
    # A proxy, since Keras wraps the dictionaries in a dictionary, and what it wraps is not JSON.
    provenance = {
        "source": checkpoint.source,
        "sha256": checkpoint.sha256,
        "left_out": list(checkpoint.left_out),
        "drawn": list(checkpoint.drawn),
        "notes": list(checkpoint.notes),
        "changes": dict(checkpoint.changes),
    }
    model.provenance = MappingProxyType(provenance)
    model.ranges = MappingProxyType(dict(checkpoint.ranges))
    return model
