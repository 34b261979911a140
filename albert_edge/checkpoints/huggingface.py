"""A Hugging Face directory: `config.json`, the weights, and the tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.hdf5 import HDF5_MAGIC, open_hdf5
from albert_edge.checkpoints.match import (
    CheckpointContents,
    TensorNaming,
    rename_tensors,
)
from albert_edge.checkpoints.pytorch import LEGACY_MAGIC, ZIP_MAGIC, open_torch
from albert_edge.checkpoints.safetensors import open_safetensors, pack_tensors
from albert_edge.checkpoints.tensor_file import TensorFile, has_file, read_json, safe_path
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError
from albert_edge.tasks import TASKS

__all__ = [
    "CONFIG",
    "KERAS_NAMING",
    "KERAS_WEIGHTS",
    "TOKENIZER_FILES",
    "WEIGHTS",
    "architectures_of",
    "config_json",
    "find_huggingface",
    "huggingface_files",
    "open_weights",
    "read_tokenizer",
]

TOKENIZER_FILES = ("spiece.model", "vocab.txt", "tokenizer.json", "tokenizer_config.json")
CONFIG = "config.json"
KERAS_WEIGHTS = "keras_weights.h5"
# The first that is there is read: a directory of the Hub holds the same weights several times.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    KERAS_WEIGHTS,
)
# What else an ALBERT checkpoint may hold beside the tensors of one task.
_KNOWN = (
    "classifier.",
    "embeddings.position_ids",
    "exits.",
    "pooler.",
    "predictions.",
    "qa_outputs.",
    "sentence_scorer.",
    "sop_classifier.",
)
_OUR_HEADS = tuple(f"{name[:-1]}/" for name in _KNOWN if name != "embeddings.position_ids")
KERAS_NAMING = TensorNaming("name", lambda name: name.startswith(_OUR_HEADS))
_OURS = "albert_edge"  # the key in `config.json` of what only this project understands
_PREFIX = "albert."  # of the encoder's tensors, except in a checkpoint of the bare AlbertModel
_INDEX = ".index.json"


def find_huggingface(directory: Path) -> CheckpointContents:
    """Find what a Hugging Face directory holds.

    Args:
        directory: It holds `config.json`, the weights and, if any, a tokenizer.

    Raises:
        CheckpointError: The directory is incomplete or damaged, or its weights are dangerous.
        ConfigError: `config.json` is not an ALBERT's.
        MissingExtraError: What reads such weights is not installed.
    """
    weights = next((name for name in WEIGHTS if has_file(directory, name)), None)
    missing = [CONFIG] if not has_file(directory, CONFIG) else []
    if missing := missing + ([f"weights ({', '.join(WEIGHTS)})"] if weights is None else []):
        raise CheckpointError(
            f"{directory} is not a Hugging Face checkpoint: it has no {' and no '.join(missing)}."
        )
    path = safe_path(directory, CONFIG)
    config, values = AlbertConfig.read(path), read_json(path)
    store = open_weights(safe_path(directory, weights))
    bare = not any(name.startswith(_PREFIX) for name in store.tensors)
    ours = "embeddings/word_embeddings" in store.tensors
    return CheckpointContents(
        directory=directory,
        store=store,
        dialect=KERAS_NAMING if ours else _naming(store.tensors, bare=bare),
        config=config,
        labelled=bool(values.get("id2label") or values.get("num_labels")),
        tokenizer_files=read_tokenizer(directory),
        architectures=architectures_of(values),
        changes=_changes_of(values, path),
    )


def read_tokenizer(folder: Path) -> dict[str, bytes]:
    """Return the contents of a tokenizer's files, by name; nothing if there are none."""
    return {
        name: safe_path(folder, name).read_bytes()
        for name in TOKENIZER_FILES
        if has_file(folder, name)
    }


def huggingface_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files of a directory that transformers' `from_pretrained` reads.

    The same checkpoint gives the same bytes.

    Raises:
        CheckpointError: The tensors do not fit the configuration and the task.
        MissingExtraError: safetensors is not installed.
    """
    dialect = _naming((), bare=checkpoint.task == "feature-extraction")  # as AlbertModel is saved
    blob = pack_tensors(rename_tensors(checkpoint, dialect))
    return {WEIGHTS[0]: blob, **checkpoint.tokenizer_files, CONFIG: config_json(checkpoint)}


def config_json(checkpoint: Checkpoint) -> bytes:
    """Return the content of `config.json`: also the head's architecture, and what was changed."""
    config = checkpoint.config.to_huggingface()
    config["architectures"] = [TASKS[checkpoint.task].architecture]
    if checkpoint.changes:
        config[_OURS] = {"changes": dict(checkpoint.changes)}
    return (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()


def architectures_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the classes that a configuration names; nothing if it names none."""
    names = values.get("architectures")
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _changes_of(values: Mapping[str, Any], path: Path) -> dict[str, Mapping[str, Any]]:
    ours = values.get(_OURS, {})
    changes = ours.get("changes", {}) if isinstance(ours, dict) else None
    if not isinstance(changes, dict) or not all(isinstance(v, dict) for v in changes.values()):
        raise CheckpointError(
            f"{path}: {_OURS} must hold changes, each with its figures, not {ours!r}; remove it."
        )
    return changes


def _naming(stored: Collection[str], *, bare: bool) -> TensorNaming:
    # Old versions store the bias twice, and all of them compute with the decoder's.
    decoder_bias = "predictions.decoder.bias" in stored

    def known(name: str) -> bool:
        return name.removeprefix(_PREFIX).startswith(_KNOWN)

    def rename(name: str) -> str:
        if decoder_bias and name == "predictions.bias":
            return "predictions.decoder.bias"
        return name.removeprefix(_PREFIX) if bare else name

    return TensorNaming("huggingface", known, rename, decoder="predictions.decoder.weight")


# A file of weights, recognized by its content; or its shards, by their index.


def open_weights(path: Path) -> TensorFile:
    """Open a file of weights of any kind that Hugging Face's libraries write.

    Args:
        path: The weights, or the `.index.json` that tells which shard holds which tensor.

    Raises:
        CheckpointError: A file is missing, damaged, foreign or dangerous.
        MissingExtraError: What reads this kind is not installed.
    """
    return _open_shards(path) if path.name.endswith(_INDEX) else _open_file(path)


def _open_file(path: Path) -> TensorFile:
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith((ZIP_MAGIC, LEGACY_MAGIC)):
        return open_torch(path)
    if head.startswith(HDF5_MAGIC):
        return open_hdf5(path)
    return open_safetensors(path)


def _open_shards(index: Path) -> TensorFile:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index} has no weight_map, which tells the shard of each tensor.")
    places = {name: str(shard) for name, shard in places.items()}
    shards = sorted(set(places.values()))
    # Every name is looked at before any file is opened.
    paths = [safe_path(index.parent, name, where=index) for name in shards]
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
    return TensorFile(index, (index, *paths), tensors)
