"""Make a Keras model from a checkpoint."""

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
        init_head: Whether to initialize a missing head randomly, to be trained.
        allow_nan: Whether weights may be NaN or infinite.

    Returns:
        The model, with the tokenizer's files and the provenance of the checkpoint.

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or it lacks the head.
        ConfigError: Its configuration is not an ALBERT's, or the task is unknown.
        MissingExtraError: The package that reads this kind of source is not installed.

    Example:
        >>> load_keras("albert-base-v2").provenance["source"]
        'albert-base-v2 (random weights)'
    """
    checkpoint = read_checkpoint(source, task=task, init_head=init_head, allow_nan=allow_nan)
    return from_checkpoint(checkpoint)


def from_checkpoint(checkpoint: Checkpoint) -> Albert:
    """Make the Keras model of `checkpoint`.

    Raises:
        CheckpointError: The tensors do not match the configuration and the task.
    """
    pooler = "pooler/kernel" in checkpoint.tensors
    model = Albert(checkpoint.config, task=checkpoint.task, pooler=pooler)
    assign(model, checkpoint.tensors)
    model.tokenizer_files = dict(checkpoint.tokenizer_files)
    # A proxy, because Keras replaces plain dictionaries by its own, which JSON cannot represent.
    provenance = {
        "source": checkpoint.source,
        "sha256": checkpoint.sha256,
        "left_out": list(checkpoint.unused),
        "drawn": list(checkpoint.randomly_initialized),
        "notes": list(checkpoint.notes),
        "changes": dict(checkpoint.changes),
    }
    model.provenance = MappingProxyType(provenance)
    model.ranges = MappingProxyType(dict(checkpoint.ranges))
    return model
