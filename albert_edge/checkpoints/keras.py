"""This project's own Keras weights: `config.json` and `keras_weights.h5`."""

from __future__ import annotations

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.hdf5 import pack_hdf5
from albert_edge.checkpoints.huggingface import (
    CONFIG,
    KERAS_DIALECT,
    KERAS_WEIGHTS,
    config_json,
)
from albert_edge.checkpoints.places import spell_tensors

__all__ = ["keras_files"]


def keras_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files of a directory that this project reads, whatever the task.

    Keras's own `Albert.load_weights` reads the weights too, but for heads that predict words:
    these it wants to hold the word embeddings once more.

    Raises:
        CheckpointError: The tensors do not fit the configuration and the task.
        MissingExtraError: h5py is not installed.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, values in spell_tensors(checkpoint, KERAS_DIALECT).items():
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
