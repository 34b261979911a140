"""Every tensor gets its place and every place its tensor, whatever the format calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.heads import (
    check_tied,
    choose_task,
    has_head,
    refuse_beam_search,
)
from albert_edge.checkpoints.initial import draw_tensors
from albert_edge.checkpoints.names import Spelling, TensorName, head_names, tensor_names
from albert_edge.checkpoints.store import Store, read_float32, sha256_of
from albert_edge.checkpoints.vocabulary import check_vocabulary
from albert_edge.config import TASKS, AlbertConfig
from albert_edge.errors import CheckpointError

__all__ = ["Dialect", "Found", "make_checkpoint", "spell_tensors"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a format names tensors.

    Attributes:
        spelling: Which of the name map's columns it follows.
        known: Tells of a name that has no place whether an ALBERT checkpoint may hold it all the
            same; what is not known is refused.
        rename: Turns a name of the map into the file's own.
        decoder: What it calls the copy of the word embeddings that it may store for the product
            with the vocabulary.
    """

    spelling: Spelling
    known: Callable[[str], bool]
    rename: Callable[[str], str] = str
    decoder: str = ""

    def spell(self, tensor: TensorName) -> tuple[str, bool]:
        """Return a tensor's name in the file, and whether the file has its transpose."""
        name, transposed = tensor.stored(self.spelling)
        return self.rename(name), transposed


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a format's reader found in a directory.

    Attributes:
        directory: Where.
        store: The tensors.
        dialect: Their names.
        config: The shape.
        labelled: Whether the configuration says how many labels there are.
        tokenizer_files: The tokenizer's files by this project's names for them.
        given: Values by canonical name of tensors that the format does not store.
        notes: What the user should know about this checkpoint.
        architectures: The classes that the configuration names.
        changes: What this project did to the weights before; see `Checkpoint`.
    """

    directory: Path
    store: Store
    dialect: Dialect
    config: AlbertConfig
    labelled: bool
    tokenizer_files: Mapping[str, bytes]
    given: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def make_checkpoint(
    found: Found, *, task: str = "auto", allow_nan: bool = False, init_head: bool = False
) -> Checkpoint:
    """Read what was found, strictly: every tensor has a place and every place a tensor.

    Args:
        found: What to read.
        task: One of `config.TASKS`, or "auto" for the head that there is.
        allow_nan: Whether weights may be NaN or infinite.
        init_head: Whether a head that is not there is drawn at random, always the same.

    Raises:
        CheckpointError: The tensors contradict the configuration, or lack the task's head, or
            hold NaN; the message lists every offender.  Or the tokenizer is another model's.
        TokenizerError: The tokenizer cannot be used.
    """
    store, dialect, config = found.store, found.dialect, found.config
    unused = check_vocabulary(found.tokenizer_files, config.vocab_size, where=str(found.directory))
    heads = {t.name: dialect.spell(t)[0] for kind in TASKS for t in head_names(config, kind)}
    present = {name for name in heads if heads[name] in store.tensors or name in found.given}
    refuse_beam_search(store.tensors, task, where=str(store.path))
    task = choose_task(
        present,
        task,
        spelled=heads,
        architectures=found.architectures,
        where=str(store.path),
        init_head=init_head,
    )
    if "classifier/kernel" in present and task in ("classification", "token-classification"):
        config = _fit_labels(found, heads["classifier/kernel"])
    if task != "classification" and config.early_exit:
        config = dataclasses.replace(config, early_exit=False)
    absent = _absent(config, task, present) if init_head else []
    wanted = _match(found, config, task, {tensor.name for tensor in absent})
    tensors = {**found.given, **draw_tensors(absent, config)}
    for name, values in read_float32(store, wanted, allow_nan=allow_nan):
        place = wanted[name]
        transposed = dialect.spell(place)[1]
        tensors[place.name] = np.ascontiguousarray(values.T) if transposed else values
    tied = {dialect.decoder} & store.tensors.keys() if "predictions/bias" in tensors else set()
    for name, values in read_float32(store, tied, allow_nan=allow_nan):
        check_tied(tensors["embeddings/word_embeddings"], values, where=f"{store.path}: {name}")
    return Checkpoint(
        config=config,
        task=task,
        tensors=tensors,
        tokenizer_files=found.tokenizer_files,
        source=found.directory.resolve().name,
        sha256=sha256_of(store.files),
        left_out=tuple(sorted(store.tensors.keys() - wanted.keys() - tied)),
        drawn=tuple(tensor.name for tensor in absent),
        notes=(*found.notes, *unused),
        changes=found.changes,
    )


def spell_tensors(checkpoint: Checkpoint, dialect: Dialect) -> dict[str, np.ndarray]:
    """Return a checkpoint's tensors as a format names and lays them out.

    Raises:
        CheckpointError: They do not fit the configuration and the task, or the format has no name
            for one; the message lists every offender.
    """
    config, task, tensors = checkpoint.config, checkpoint.task, checkpoint.tensors
    places = tensor_names(config, task, pooler="pooler/kernel" in tensors)
    wanted = {place.name: place.shape for place in places}
    given = {name: values.shape for name, values in tensors.items()}
    if problems := [
        f"{name} is {given.get(name, 'missing')}, expected {wanted.get(name, 'no such tensor')}"
        for name in sorted({name for name, _ in given.items() ^ wanted.items()})
    ]:
        raise CheckpointError(f"the tensors do not fit {task}: {'; '.join(problems)}.")
    if nameless := [place.name for place in places if not place.stored(dialect.spelling)[0]]:
        raise CheckpointError(
            f"{dialect.spelling} has no name for {', '.join(nameless)}; write another format."
        )
    spelled = {}
    for place in places:
        name, transposed = dialect.spell(place)
        spelled[name] = tensors[place.name].T if transposed else tensors[place.name]
    return spelled


def _fit_labels(found: Found, name: str) -> AlbertConfig:
    """Let the rows of the classifier `name` count the labels if the configuration does not."""
    config = found.config
    # Every format stores labels first, but for those that keep our own names.
    shape = found.store.tensors[name].shape
    rows, *rest = shape[::-1] if found.dialect.spelling == "name" else shape or (0,)
    if rest != [config.hidden_size] or rows in (0, config.num_labels):
        return config  # it fits, or is wrong in a way that `_match` reports
    if found.labelled:
        raise CheckpointError(
            f"{found.store.path}: the configuration has {config.num_labels} labels "
            f"({', '.join(config.labels)}), and {name} has {rows} rows."
        )
    return dataclasses.replace(config, labels=tuple(f"LABEL_{row}" for row in range(rows)))


def _absent(config: AlbertConfig, task: str, present: set[str]) -> list[TensorName]:
    """List what of a head may be drawn: all that lacks, or the exits if none of them is there."""
    names = head_names(config, task)
    if not has_head(present, task):
        return [tensor for tensor in names if tensor.name not in present]
    exits = [tensor for tensor in names if tensor.name.startswith("exits/")]
    return exits if present.isdisjoint(tensor.name for tensor in exits) else []


def _match(
    found: Found, config: AlbertConfig, task: str, absent: set[str]
) -> dict[str, TensorName]:
    """Give every place but the `absent` its tensor; return the places by the file's names."""
    where, dialect = found.store.path, found.dialect
    shapes = {name: list(tensor.shape) for name, tensor in found.store.tensors.items()}
    layers = config.num_hidden_groups * config.inner_group_num
    if layers > len(shapes):  # before a million names are listed
        raise CheckpointError(
            f"the configuration asks for {layers} distinct layers; "
            f"{where} has {len(shapes)} tensors."
        )
    poolers = {dialect.spell(t)[0] for t in tensor_names(config, task) if "pooler/" in t.name}
    places = tensor_names(config, task, pooler=not poolers.isdisjoint(shapes))
    wanted = {dialect.spell(t)[0]: t for t in places if t.name not in {*found.given, *absent}}
    expected = {
        name: list(tensor.shape[::-1] if dialect.spell(tensor)[1] else tensor.shape)
        for name, tensor in wanted.items()
    }
    problems = [f"{name} {expected[name]} is missing" for name in wanted if name not in shapes]
    problems += [
        f"{name} has shape {shapes[name]}, expected {expected[name]}"
        for name in wanted
        if name in shapes and shapes[name] != expected[name]
    ]
    problems += [
        f"{name} {shape} has no place"
        for name, shape in sorted(shapes.items())
        if name not in wanted and not dialect.known(name)
    ]
    if problems:
        raise CheckpointError(f"{where} does not fit its configuration: {'; '.join(problems)}.")
    return wanted
