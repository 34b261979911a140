"""A file of weights, recognized by its content; or its shards, by their index."""

from __future__ import annotations

from pathlib import Path

from albert_edge.checkpoints.folder import member, read_json
from albert_edge.checkpoints.hdf5 import HDF5_MAGIC, open_hdf5
from albert_edge.checkpoints.safetensors import open_safetensors
from albert_edge.checkpoints.store import Store
from albert_edge.checkpoints.torchfile import LEGACY_MAGIC, ZIP_MAGIC, open_torch
from albert_edge.errors import CheckpointError

__all__ = ["open_weights"]

_INDEX = ".index.json"


def open_weights(path: Path) -> Store:
    """Open a file of weights of any kind that Hugging Face's libraries write.

    Args:
        path: The weights, or the `.index.json` that tells which shard holds which tensor.

    Raises:
        CheckpointError: A file is missing, damaged, foreign or dangerous.
        MissingExtraError: What reads this kind is not installed.
    """
    return _open_shards(path) if path.name.endswith(_INDEX) else _open_file(path)


def _open_file(path: Path) -> Store:
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith((ZIP_MAGIC, LEGACY_MAGIC)):
        return open_torch(path)
    if head.startswith(HDF5_MAGIC):
        return open_hdf5(path)
    return open_safetensors(path)


def _open_shards(index: Path) -> Store:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index} has no weight_map, which tells the shard of each tensor.")
    places = {name: str(shard) for name, shard in places.items()}
    shards = sorted(set(places.values()))
    # Every name is looked at before any file is opened.
    paths = [member(index.parent, name, where=index) for name in shards]
    stores = dict(zip(shards, map(_open_file, paths), strict=True))
    tensors = {name: tensor for store in stores.values() for name, tensor in store.tensors.items()}
    problems = [
        f"{name} should be in {shard} and is not"
        for name, shard in places.items()
        if name not in stores[shard].tensors
    ]
    problems += [
        f"{name} is in {shard}, where it should not be"
        for shard, store in stores.items()
        for name in store.tensors
        if places.get(name) != shard
    ]
    if problems:
        raise CheckpointError(f"{index} and the shards disagree: {'; '.join(problems)}.")
    return Store(index, (index, *paths), tensors)
