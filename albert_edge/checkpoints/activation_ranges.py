"""Activation ranges learned by quantization-aware training: `quantization.json`.

The file is beside the weights, and has a digest of the encoder for which the ranges hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.tensor_file import read_json, safe_path
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError
from albert_edge.files import dump_json

RANGES_FILE = "quantization.json"
_FORMAT = 1
# The 8-bit activations of a layer, in the order in which they are computed.
_PER_TENSOR = (
    "attention/input",
    "attention/query_key_value",
    "attention/scores",
    "attention/context",
    "ffn/input",
    "ffn/intermediate",
    "ffn/activation",
)
_PER_CHANNEL = ("attention/output", "ffn/output")  # the residual is added to them


def channels_of(config: AlbertConfig) -> dict[str, int]:
    """Return the number of ranges of every 8-bit activation by its name: one, or one per channel.

    Example:
        >>> channels_of(AlbertConfig(hidden_size=768))["encoder/group_0/layer_0/ffn/output"]
        768
    """
    layer = dict.fromkeys(_PER_TENSOR, 1) | dict.fromkeys(_PER_CHANNEL, config.hidden_size)
    return {
        f"encoder/group_{group}/layer_{index}/{name}": channels
        for group in range(config.num_hidden_groups)
        for index in range(config.inner_group_num)
        for name, channels in layer.items()
    }


def pack_ranges(checkpoint: Checkpoint) -> bytes:
    """Return the content of `quantization.json` for a checkpoint with ranges."""
    ranges = {
        name: {"low": values[0].tolist(), "high": values[1].tolist()}
        for name, values in checkpoint.ranges.items()
    }
    content = {"format": _FORMAT, "encoder_sha256": _digest(checkpoint), "ranges": ranges}
    return (dump_json(content, sort_keys=True) + "\n").encode()


def read_ranges(directory: Path, checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Read the ranges beside the weights of `checkpoint`.

    Returns:
        The minimum and the maximum of every activation, float32 [2, C], by the names of
        `channels_of`.

    Raises:
        CheckpointError: The file is damaged, of a newer version, or belongs to other weights.
    """
    path = safe_path(directory, RANGES_FILE)
    values = read_json(path)
    if values.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} has format {values.get('format')!r}, expected {_FORMAT}; update albert_edge, "
            "or remove the file to calibrate again."
        )
    ranges = _parse(values, channels_of(checkpoint.config), path)
    if values["encoder_sha256"] != _digest(checkpoint):
        raise CheckpointError(
            f"{path} has the ranges of other weights than those beside it: if the model was "
            "trained further, remove the file, then train the ranges again or calibrate."
        )
    return ranges


def _parse(
    values: Mapping[str, Any], channels: Mapping[str, int], path: Path
) -> dict[str, np.ndarray]:
    try:
        if values.keys() != {"format", "encoder_sha256", "ranges"}:
            raise ValueError(f"it has the keys {', '.join(values)}")
        ranges = values["ranges"]
        if wrong := sorted(channels.keys() ^ ranges.keys()):
            raise ValueError(f"{len(wrong)} names are missing or unknown, such as {wrong[0]}")
        return {name: _parse_range(ranges[name], name, size) for name, size in channels.items()}
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}. Remove it to calibrate again, or copy it again."
        ) from error


def _parse_range(entry: Mapping[str, Any], name: str, channels: int) -> np.ndarray:
    if entry.keys() != {"low", "high"}:
        raise ValueError(f"{name} must have a low and a high")
    min_max = np.array([entry["low"], entry["high"]], np.float32)
    if min_max.shape != (2, channels):
        raise ValueError(f"{name} must have {channels} channels")
    if not (np.isfinite(min_max).all() and (min_max[0] <= 0).all() and (min_max[1] >= 0).all()):
        raise ValueError(f"{name} must have finite ranges that include 0")
    return min_max


def _digest(checkpoint: Checkpoint) -> str:
    """Return a digest of the encoder's weights; it does not depend on the checkpoint's format."""
    digest = hashlib.sha256()
    for name in sorted(name for name in checkpoint.tensors if name.startswith("encoder/")):
        digest.update(name.encode() + np.ascontiguousarray(checkpoint.tensors[name]).tobytes())
    return digest.hexdigest()
