"""A Hugging Face directory: `config.json`, `model.safetensors` and the tokenizer's files."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.names import TensorName, tensor_names
from albert_edge.checkpoints.weights import file_sha256, pack_tensors, read_header, read_tensors
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError, OutputError
from albert_edge.files import check_writable, write_file

__all__ = ["TOKENIZER_FILES", "read_huggingface", "write_checkpoint"]

TOKENIZER_FILES = ("spiece.model", "tokenizer.json", "tokenizer_config.json")

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_OTHER_WEIGHTS = ("model.safetensors.index.json", "pytorch_model.bin", "tf_model.h5")

# The tensor that tells that a checkpoint has a task's head.
_HEADS = {"classification": "classifier.weight", "question-answering": "qa_outputs.weight"}
# What else an ALBERT checkpoint may hold beside the tensors of one task.
_KNOWN = (
    "classifier.",
    "embeddings.position_ids",
    "pooler.",
    "predictions.",
    "qa_outputs.",
    "sop_classifier.",
)
_ARCHITECTURES = {
    "feature-extraction": "AlbertModel",
    "classification": "AlbertForSequenceClassification",
    "question-answering": "AlbertForQuestionAnswering",
}
_PREFIX = "albert."  # of the encoder's tensors, except in a checkpoint of the bare AlbertModel

Shapes = Mapping[str, tuple[int, ...]]


def read_huggingface(directory: Path, *, task: str = "auto") -> Checkpoint:
    """Read a Hugging Face directory, strictly: every tensor has a place and every place a tensor.

    Args:
        directory: It holds `config.json`, `model.safetensors` and, if any, a tokenizer.
        task: One of `config.TASKS`, or "auto" for the head that the checkpoint has.

    Raises:
        CheckpointError: The directory is incomplete or damaged, its parts contradict each other,
            or it lacks the task's head; the message lists every offending tensor.
        ConfigError: `config.json` is not an ALBERT's.
        MissingExtraError: safetensors is not installed.
    """
    try:
        return _read(directory, task)
    except OSError as error:
        raise CheckpointError(f"cannot read {error.filename}: {error.strerror}.") from error


def write_checkpoint(
    directory: str | os.PathLike[str], checkpoint: Checkpoint, *, force: bool = False
) -> None:
    """Write a directory that `read_huggingface` and transformers' `from_pretrained` read.

    The same checkpoint gives the same bytes.  `config.json` is written last: a directory
    without it is not a checkpoint.

    Args:
        directory: Made if it does not exist; its parent must.
        checkpoint: What to write.
        force: Whether a checkpoint that is there already may be replaced.

    Raises:
        CheckpointError: The tensors do not fit the configuration and the task.
        OutputError: A file exists and `force` is false, or cannot be written.
        MissingExtraError: safetensors is not installed.
    """
    folder = Path(directory)
    blob = pack_tensors(_to_huggingface(checkpoint))
    config = checkpoint.config.to_huggingface()
    config["architectures"] = [_ARCHITECTURES[checkpoint.task]]
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    files = {_WEIGHTS: blob, **checkpoint.tokenizer_files, _CONFIG: text.encode()}
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the directory {folder}: {error.strerror}.") from error
    for name in (_CONFIG, _WEIGHTS, *TOKENIZER_FILES, *files):
        check_writable(folder / name, force=force)
    for name, content in files.items():
        write_file(folder / name, content, force=force)
    for name in set(TOKENIZER_FILES) - files.keys():
        _remove(folder / name)  # an old tokenizer must not pass for the new model's


def _read(directory: Path, task: str) -> Checkpoint:
    _check_complete(directory)
    config = AlbertConfig.read(directory / _CONFIG)
    weights = directory / _WEIGHTS
    shapes = read_header(weights)
    task = _find_task(shapes, task, weights)
    if task == "classification":
        config = _fit_labels(config, shapes, directory)
    wanted = _match(config, task, shapes, weights)
    tensors = {}
    for name, values in read_tensors(weights, wanted):
        place = wanted[name]
        tensors[place.name] = np.ascontiguousarray(values.T) if place.transposed else values
    return Checkpoint(
        config=config,
        task=task,
        tensors=tensors,
        tokenizer_files=_read_tokenizer(directory),
        source=directory.resolve().name,
        sha256=file_sha256(weights),
        left_out=tuple(sorted(shapes.keys() - wanted.keys())),
    )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror}.") from error


def _check_complete(directory: Path) -> None:
    missing = [name for name in (_CONFIG, _WEIGHTS) if not (directory / name).is_file()]
    others = [name for name in _OTHER_WEIGHTS if (directory / name).is_file()]
    if _WEIGHTS in missing and others:
        raise CheckpointError(
            f"{directory} holds its weights as {', '.join(others)}, which is not supported yet; "
            "transformers' from_pretrained and then save_pretrained write model.safetensors."
        )
    if missing:
        raise CheckpointError(
            f"{directory} is not a Hugging Face checkpoint: it has no {' and no '.join(missing)}."
        )


def _find_task(shapes: Shapes, task: str, where: Path) -> str:
    found = [name for name, tensor in _HEADS.items() if tensor in shapes]
    if task == "auto":
        if len(found) > 1:
            raise CheckpointError(f"{where} has heads for {' and '.join(found)}; choose the task.")
        return found[0] if found else "feature-extraction"
    if task in _HEADS and task not in found:
        raise CheckpointError(
            f"{where} has no head for {task} (no tensor {_HEADS[task]}), so its answers would be "
            f"random; it can be read for {', '.join(['feature-extraction', *found])}."
        )
    return task


def _fit_labels(config: AlbertConfig, shapes: Shapes, directory: Path) -> AlbertConfig:
    """Let the classifier's rows count the labels if `config.json` does not name them."""
    rows, *rest = shapes[_HEADS["classification"]] or (0,)
    if rest != [config.hidden_size] or rows in (0, config.num_labels):
        return config  # it fits, or is wrong in a way that `_match` reports
    values = json.loads((directory / _CONFIG).read_bytes())
    if values.get("id2label") or values.get("num_labels"):
        raise CheckpointError(
            f"{directory}: config.json has {config.num_labels} labels "
            f"({', '.join(config.labels)}), and classifier.weight has {rows} rows."
        )
    return dataclasses.replace(config, labels=tuple(f"LABEL_{row}" for row in range(rows)))


def _match(config: AlbertConfig, task: str, shapes: Shapes, where: Path) -> dict[str, TensorName]:
    """Give every place its tensor; return the places by the names of the file."""
    layers = config.num_hidden_groups * config.inner_group_num
    if layers > len(shapes):  # before a million names are listed
        raise CheckpointError(
            f"config.json asks for {layers} distinct layers; {where} has {len(shapes)} tensors."
        )
    prefixed = any(name.startswith(_PREFIX) for name in shapes)
    pooler = any(name.removeprefix(_PREFIX).startswith("pooler.") for name in shapes)
    wanted = {
        tensor.huggingface if prefixed else tensor.huggingface.removeprefix(_PREFIX): tensor
        for tensor in tensor_names(config, task, pooler=pooler)
    }
    problems = [
        f"{name} {_stored(tensor)} is missing"
        for name, tensor in wanted.items()
        if name not in shapes
    ]
    problems += [
        f"{name} has shape {list(shapes[name])}, expected {_stored(tensor)}"
        for name, tensor in wanted.items()
        if name in shapes and list(shapes[name]) != _stored(tensor)
    ]
    problems += [
        f"{name} {list(shape)} has no place"
        for name, shape in sorted(shapes.items())
        if name not in wanted and not name.removeprefix(_PREFIX).startswith(_KNOWN)
    ]
    if problems:
        raise CheckpointError(f"{where} does not fit config.json: {'; '.join(problems)}.")
    return wanted


def _stored(tensor: TensorName) -> list[int]:
    """Return the shape of a tensor as Hugging Face stores it."""
    return list(tensor.shape[::-1] if tensor.transposed else tensor.shape)


def _read_tokenizer(directory: Path) -> dict[str, bytes]:
    paths = [directory / name for name in TOKENIZER_FILES]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _to_huggingface(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    config, task, tensors = checkpoint.config, checkpoint.task, checkpoint.tensors
    places = tensor_names(config, task, pooler="pooler/kernel" in tensors)
    wanted = {place.name: place.shape for place in places}
    given = {name: values.shape for name, values in tensors.items()}
    if problems := [
        f"{name} is {given.get(name, 'missing')}, expected {wanted.get(name, 'no such tensor')}"
        for name in sorted({name for name, _ in given.items() ^ wanted.items()})
    ]:
        raise CheckpointError(f"the tensors do not fit {task}: {'; '.join(problems)}.")
    prefix = "" if task == "feature-extraction" else _PREFIX  # as AlbertModel is saved
    return {
        place.huggingface.replace(_PREFIX, prefix, 1): (
            tensors[place.name].T if place.transposed else tensors[place.name]
        )
        for place in places
    }
