"""A Hugging Face directory: `config.json`, the weights, and the tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.folder import holds, member, read_json
from albert_edge.checkpoints.heads import ARCHITECTURES
from albert_edge.checkpoints.places import Dialect, Found, spell_tensors
from albert_edge.checkpoints.safetensors import pack_tensors
from albert_edge.checkpoints.weights import open_weights
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError

__all__ = [
    "CONFIG",
    "KERAS_DIALECT",
    "KERAS_WEIGHTS",
    "TOKENIZER_FILES",
    "WEIGHTS",
    "architectures_of",
    "config_json",
    "find_huggingface",
    "huggingface_files",
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
KERAS_DIALECT = Dialect("name", lambda name: name.startswith(_OUR_HEADS))
_OURS = "albert_edge"  # the key in `config.json` of what only this project understands
_PREFIX = "albert."  # of the encoder's tensors, except in a checkpoint of the bare AlbertModel


def find_huggingface(directory: Path) -> Found:
    """Find what a Hugging Face directory holds.

    Args:
        directory: It holds `config.json`, the weights and, if any, a tokenizer.

    Raises:
        CheckpointError: The directory is incomplete or damaged, or its weights are dangerous.
        ConfigError: `config.json` is not an ALBERT's.
        MissingExtraError: What reads such weights is not installed.
    """
    weights = next((name for name in WEIGHTS if holds(directory, name)), None)
    missing = [CONFIG] if not holds(directory, CONFIG) else []
    if missing := missing + ([f"weights ({', '.join(WEIGHTS)})"] if weights is None else []):
        raise CheckpointError(
            f"{directory} is not a Hugging Face checkpoint: it has no {' and no '.join(missing)}."
        )
    path = member(directory, CONFIG)
    config, values = AlbertConfig.read(path), read_json(path)
    store = open_weights(member(directory, weights))
    bare = not any(name.startswith(_PREFIX) for name in store.tensors)
    ours = "embeddings/word_embeddings" in store.tensors
    return Found(
        directory=directory,
        store=store,
        dialect=KERAS_DIALECT if ours else _dialect(store.tensors, bare=bare),
        config=config,
        labelled=bool(values.get("id2label") or values.get("num_labels")),
        tokenizer_files=read_tokenizer(directory),
        architectures=architectures_of(values),
        changes=_changes_of(values, path),
    )


def read_tokenizer(folder: Path) -> dict[str, bytes]:
    """Return the contents of a tokenizer's files, by name; nothing if there are none."""
    return {
        name: member(folder, name).read_bytes() for name in TOKENIZER_FILES if holds(folder, name)
    }


def huggingface_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the files of a directory that transformers' `from_pretrained` reads.

    The same checkpoint gives the same bytes.

    Raises:
        CheckpointError: The tensors do not fit the configuration and the task.
        MissingExtraError: safetensors is not installed.
    """
    dialect = _dialect((), bare=checkpoint.task == "feature-extraction")  # as AlbertModel is saved
    blob = pack_tensors(spell_tensors(checkpoint, dialect))
    return {WEIGHTS[0]: blob, **checkpoint.tokenizer_files, CONFIG: config_json(checkpoint)}


def config_json(checkpoint: Checkpoint) -> bytes:
    """Return the content of `config.json`: also the head's architecture, and what was changed."""
    config = checkpoint.config.to_huggingface()
    config["architectures"] = [ARCHITECTURES[checkpoint.task]]
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


def _dialect(stored: Collection[str], *, bare: bool) -> Dialect:
    # Old versions store the bias twice, and all of them compute with the decoder's.
    decoder_bias = "predictions.decoder.bias" in stored

    def known(name: str) -> bool:
        return name.removeprefix(_PREFIX).startswith(_KNOWN)

    def rename(name: str) -> str:
        if decoder_bias and name == "predictions.bias":
            return "predictions.decoder.bias"
        return name.removeprefix(_PREFIX) if bare else name

    return Dialect("huggingface", known, rename, decoder="predictions.decoder.weight")
