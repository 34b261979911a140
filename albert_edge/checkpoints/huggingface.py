"""Read and write a Hugging Face directory: `config.json`, weights, and the tokenizer's files.

The format of a file of weights is recognized by its content; several shards have an index.  Such a
directory can also have this project's own Keras weights (`keras_weights.h5`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.bert import (
    architecture_in,
    bert_config_values,
    bert_naming,
    berts_tokenizer,
    config_from_bert,
    describe_sharing,
    distilberts_tokenizer,
    without_token_types,
)
from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.hdf5 import HDF5_MAGIC, open_hdf5
from albert_edge.checkpoints.match import CheckpointContents, TensorNaming, rename_tensors
from albert_edge.checkpoints.pytorch import LEGACY_MAGIC, ZIP_MAGIC, open_torch
from albert_edge.checkpoints.safetensors import open_safetensors, pack_tensors
from albert_edge.checkpoints.tensor_file import TensorFile, has_file, read_json, safe_path
from albert_edge.checkpoints.tensor_names import HEADS
from albert_edge.config import FAMILIES, AlbertConfig
from albert_edge.errors import CheckpointError, ConfigError
from albert_edge.files import dump_json
from albert_edge.tasks import TASKS
from albert_edge.tokenizer.config import TOKENIZER_FILES

CONFIG = "config.json"
KERAS_WEIGHTS = "keras_weights.h5"
# In order of preference: a directory of the Hub has the same weights in several formats.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    KERAS_WEIGHTS,
)
_INDEX = ".index.json"
# Of an adapter (PEFT), whose weights are added to those of the model.
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_ADAPTER_NAMES = re.compile(r"\.(lora_\w+|base_layer|modules_to_save)\.")
_OUR_KEY = "albert_edge"  # of this project's own entries in `config.json`

# The prefix of the encoder's tensors, which a checkpoint of the bare AlbertModel omits.
_PREFIX = "albert."
_TABLE = "embeddings.word_embeddings.weight"
# Tensors that a checkpoint may have besides those of one task: other heads, and a constant.
_HEAD_PARTS = {part for parts in HEADS.values() for part in parts}
_IGNORABLE = ("embeddings.position_ids", *(f"{part}." for part in _HEAD_PARTS))
_BERT = re.compile("^(Distil)?Bert")
_KERAS_HEADS = tuple(f"{part}/" for part in _HEAD_PARTS)
KERAS_NAMING = TensorNaming("name", lambda name: name.startswith(_KERAS_HEADS))


def find_huggingface(directory: Path) -> CheckpointContents:
    """Open a Hugging Face directory.

    Args:
        directory: A directory with `config.json`, weights and, optionally, a tokenizer.

    Raises:
        CheckpointError: The directory is incomplete or damaged, or a pickle would run code.
        ConfigError: `config.json` is not an ALBERT's.
        MissingExtraError: The package that reads the weights is not installed.
    """
    _reject_adapter(directory)
    weights = next((name for name in WEIGHTS if has_file(directory, name)), None)
    missing = [CONFIG] if not has_file(directory, CONFIG) else []
    if missing := missing + ([f"weights ({', '.join(WEIGHTS)})"] if weights is None else []):
        raise CheckpointError(
            f"{directory} is not a Hugging Face checkpoint: it has no {' and no '.join(missing)}."
        )
    path = safe_path(directory, CONFIG)
    values = read_json(path, error=ConfigError)
    config = _read_config(values, path)
    file, notes = _without_prefix(_open_weights(safe_path(directory, weights)), f"{config.family}.")
    from_keras = "embeddings/word_embeddings" in file.tensors
    return CheckpointContents(
        directory=directory,
        file=file,
        naming=KERAS_NAMING if from_keras else _naming_of(config, file.tensors),
        config=config,
        has_label_count=bool(values.get("id2label") or values.get("num_labels")),
        tokenizer_files=_read_tokenizer(directory, config.family),
        implied={} if from_keras else _implied(config, file),
        notes=(*notes, *_sharing_notes(config, file)),
        architectures=architectures_of(values),
        changes=_parse_changes(values, path),
    )


def _read_config(values: Mapping[str, Any], path: Path) -> AlbertConfig:
    family = values.get("model_type") or "albert"
    if family not in FAMILIES:
        raise ConfigError(
            f"{path}: model_type is {family!r}, expected one of {', '.join(FAMILIES)}."
        )
    read = AlbertConfig.from_huggingface if family == "albert" else config_from_bert
    return read(values, where=str(path))


def read_tokenizer(folder: Path) -> dict[str, bytes]:
    """Return the contents of the tokenizer's files by name; empty if there are none."""
    return {
        name: safe_path(folder, name).read_bytes()
        for name in TOKENIZER_FILES
        if has_file(folder, name)
    }


def _read_tokenizer(folder: Path, family: str) -> dict[str, bytes]:
    files = read_tokenizer(folder)
    return berts_tokenizer(files, where=str(folder)) if family == "distilbert" else files


def huggingface_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files of a directory for transformers' `from_pretrained`, deterministically.

    Raises:
        CheckpointError: The tensors do not fit the configuration and the task.
        MissingExtraError: safetensors is not installed.
    """
    bare = checkpoint.task == "feature-extraction"  # as for AlbertModel
    family = checkpoint.config.family
    naming = _naming((), bare=bare) if family == "albert" else bert_naming(family, (), bare=bare)
    blob = pack_tensors(rename_tensors(checkpoint, naming))
    tokenizer: Mapping[str, bytes] = checkpoint.tokenizer_files
    if family == "distilbert":
        tokenizer = distilberts_tokenizer(tokenizer, where=checkpoint.source)
    return {WEIGHTS[0]: blob, **tokenizer, CONFIG: config_json(checkpoint)}


def config_json(checkpoint: Checkpoint) -> bytes:
    """Return the content of `config.json`, with the architecture and the changes."""
    family = checkpoint.config.family
    albert = checkpoint.config.to_huggingface()
    config = albert if family == "albert" else bert_config_values(checkpoint.config)
    config["architectures"] = [architecture_in(family, TASKS[checkpoint.task].architecture)]
    if checkpoint.changes:
        config[_OUR_KEY] = {"changes": dict(checkpoint.changes)}
    return (dump_json(config, indent=2, sort_keys=True) + "\n").encode()


def architectures_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the classes that a `config.json` names, as ALBERT's are called."""
    names = values.get("architectures")
    return tuple(_BERT.sub("Albert", str(x)) for x in names) if isinstance(names, list) else ()


def _naming_of(config: AlbertConfig, stored: Collection[str]) -> TensorNaming:
    bare = not any(name.startswith(f"{config.family}.") for name in stored)
    if config.family == "albert":
        return _naming(stored, bare=bare)
    return bert_naming(config.family, stored, bare=bare)


def _implied(config: AlbertConfig, file: TensorFile) -> dict[str, np.ndarray]:
    if config.family != "distilbert":
        return {}
    # The width is that of the stored table: a wrong configuration cannot allocate a huge one.
    tables = (t.shape[-1] for name, t in file.tensors.items() if name.endswith(_TABLE) and t.shape)
    return without_token_types(config, next(tables, 0))


def _sharing_notes(config: AlbertConfig, file: TensorFile) -> tuple[str, ...]:
    if config.family == "albert" or config.num_hidden_groups > len(file.tensors):
        return ()
    return (describe_sharing(config),)


def _reject_adapter(directory: Path) -> None:
    if found := [name for name in ADAPTER_FILES if has_file(directory, name)]:
        raise _unmerged(f"{directory} has an adapter beside its weights ({', '.join(found)})")


def _unmerged(what: str) -> CheckpointError:
    return CheckpointError(
        f"{what}, which would be left out. Merge it first: "
        "PeftModel.from_pretrained(model, DIRECTORY).merge_and_unload().save_pretrained(NEW)."
    )


def _without_prefix(file: TensorFile, own: str) -> tuple[TensorFile, tuple[str, ...]]:
    """Remove what a wrapper, such as DataParallel's `module.`, puts before all names.

    Returns:
        The tensors with their usual names, and a note if any was changed.

    Raises:
        CheckpointError: Only the encoder's names have a prefix, or the file holds an adapter.
    """
    names = file.tensors.keys()
    if found := [name for name in names if _ADAPTER_NAMES.search(name)]:
        raise _unmerged(f"{file.path} has {len(found)} tensors of an adapter, such as {found[0]}")
    tables = [name for name in names if name.endswith(_TABLE)]
    prefix = tables[0].removesuffix(_TABLE) if len(tables) == 1 else ""
    if prefix == own or prefix.endswith(f".{own}"):
        prefix = prefix.removesuffix(own)
    if not prefix:
        return file, ()
    if others := [name for name in names if not name.startswith(prefix)]:
        raise CheckpointError(
            f"{file.path}: the names of the encoder's tensors begin with {prefix!r} (expected "
            f"{own!r}), and those of {len(others)} others do not, such as {others[0]}; save "
            "the weights as a model of transformers does."
        )
    tensors = {name.removeprefix(prefix): tensor for name, tensor in file.tensors.items()}
    note = f"{prefix!r}, which begins the names of all tensors, was removed"
    return replace(file, tensors=tensors), (note,)


def _parse_changes(values: Mapping[str, Any], path: Path) -> dict[str, Mapping[str, Any]]:
    entry = values.get(_OUR_KEY, {})
    changes = entry.get("changes", {}) if isinstance(entry, dict) else None
    if not isinstance(changes, dict) or not all(isinstance(v, dict) for v in changes.values()):
        raise CheckpointError(
            f"{path}: {_OUR_KEY} must have changes with their figures, not {entry!r}; remove it."
        )
    return changes


def _naming(stored: Collection[str], *, bare: bool) -> TensorNaming:
    # Old versions of transformers store the bias twice; all versions use the decoder's.
    decoder_bias = "predictions.decoder.bias" in stored

    def is_ignorable(name: str) -> bool:
        return name.removeprefix(_PREFIX).startswith(_IGNORABLE)

    def rename(name: str) -> str:
        if decoder_bias and name == "predictions.bias":
            return "predictions.decoder.bias"
        return name.removeprefix(_PREFIX) if bare else name

    return TensorNaming("huggingface", is_ignorable, rename, decoder="predictions.decoder.weight")


def _open_weights(path: Path) -> TensorFile:
    """Open a file of weights, or the shards that an `.index.json` lists."""
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
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map with the shard of each tensor.")
    weight_map = {name: str(shard) for name, shard in weight_map.items()}
    shards = sorted(set(weight_map.values()))
    # All names are checked before any file is opened.
    paths = [safe_path(index.parent, name, where=index) for name in shards]
    files = dict(zip(shards, map(_open_file, paths), strict=True))
    tensors = {name: tensor for file in files.values() for name, tensor in file.tensors.items()}
    problems = [
        f"{name} should be in {shard} and is not"
        for name, shard in weight_map.items()
        if name not in files[shard].tensors
    ]
    problems += [
        f"{name} is in {shard}, where it should not be"
        for shard, file in files.items()
        for name in file.tensors
        if weight_map.get(name) != shard
    ]
    if problems:
        raise CheckpointError(
            f"{index} and the shards contradict each other: {'; '.join(problems)}."
        )
    return TensorFile(index, (index, *paths), tensors)
