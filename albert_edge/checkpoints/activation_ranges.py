"""The ranges that a model was trained to live with in 8 bits: a small file beside its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.tensor_file import has_file, read_json, safe_path
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError

__all__ = ["RANGES_FILE", "channels_of", "pack_ranges", "read_ranges"]

RANGES_FILE = "quantization.json"
_FORMAT = 1
# The values of a layer that are held in 8 bits, in the order in which it computes them.
_SINGLE = (
    "attention/input",
    "attention/query_key_value",
    "attention/scores",
    "attention/context",
    "ffn/input",
    "ffn/intermediate",
    "ffn/activation",
)
_BY_CHANNEL = ("attention/output", "ffn/output")  # they end in a residual sum


def channels_of(config: AlbertConfig) -> dict[str, int]:
    """Return, by name, how many channels of every 8-bit value have a range of their own.

    Example:
        >>> channels_of(AlbertConfig(hidden_size=256))["encoder/group_0/layer_0/ffn/output"]
        256
    """
    layer = dict.fromkeys(_SINGLE, 1) | dict.fromkeys(_BY_CHANNEL, config.hidden_size)
    return {
        f"encoder/group_{group}/layer_{index}/{name}": channels
        for group in range(config.num_hidden_groups)
        for index in range(config.inner_group_num)
        for name, channels in layer.items()
    }


def pack_ranges(checkpoint: Checkpoint) -> bytes:
    """Return the content of the file with a checkpoint's ranges."""
    ranges = {
        name: {"low": values[0].tolist(), "high": values[1].tolist()}
        for name, values in checkpoint.ranges.items()
    }
    whole = {"format": _FORMAT, "encoder_sha256": _digest(checkpoint), "ranges": ranges}
    return (json.dumps(whole, sort_keys=True) + "\n").encode()


def read_ranges(directory: Path, checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Read the ranges that lie beside the weights of `checkpoint`; nothing if there are none.

    Raises:
        CheckpointError: The file is damaged, of a newer version, or was made for other weights.
    """
    if not has_file(directory, RANGES_FILE):
        return {}
    path = safe_path(directory, RANGES_FILE)
    values = read_json(path)
    if values.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} has format {values.get('format')!r}, expected {_FORMAT}; update albert_edge, "
            "or remove the file to calibrate anew."
        )
    ranges = _parse(values, channels_of(checkpoint.config), path)
    if values["encoder_sha256"] != _digest(checkpoint):
        raise CheckpointError(
            f"{path} holds the ranges of other weights than those beside it: if the model was "
            "trained further, remove the file, and train its ranges anew or calibrate."
        )
    return ranges


def _parse(
    values: Mapping[str, Any], wanted: Mapping[str, int], path: Path
) -> dict[str, np.ndarray]:
    try:
        if values.keys() != {"format", "encoder_sha256", "ranges"}:
            raise ValueError(f"it has the keys {', '.join(values)}")
        if odd := sorted(wanted.keys() ^ values["ranges"].keys()):
            raise ValueError(f"{len(odd)} names are missing or unknown, such as {odd[0]}")
        return {name: _range(values["ranges"][name], name, size) for name, size in wanted.items()}
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}. Remove it to calibrate anew, or copy it again."
        ) from error


def _range(entry: Mapping[str, Any], name: str, channels: int) -> np.ndarray:
    if entry.keys() != {"low", "high"}:
        raise ValueError(f"{name} must have a low and a high")
    bounds = np.array([entry["low"], entry["high"]], np.float32)
    if bounds.shape != (2, channels):
        raise ValueError(f"{name} must have {channels} channels")
    if not (np.isfinite(bounds).all() and (bounds[0] <= 0).all() and (bounds[1] >= 0).all()):
        raise ValueError(f"{name} must hold finite ranges around 0")
    return bounds


def _digest(checkpoint: Checkpoint) -> str:
    """Return a digest of the layers' weights, which are the same in every format."""
    digest = hashlib.sha256()
    for name in sorted(name for name in checkpoint.tensors if name.startswith("encoder/")):
        digest.update(name.encode() + np.ascontiguousarray(checkpoint.tensors[name]).tobytes())
    return digest.hexdigest()
