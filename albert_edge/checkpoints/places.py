"""Every tensor gets its place and every place its tensor, whatever the format calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.names import Spelling, TensorName, tensor_names
from albert_edge.checkpoints.store import Store, read_float32, sha256_of
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError

__all__ = ["Dialect", "Found", "make_checkpoint", "spell_tensors"]

# The tensor that tells that a checkpoint has a task's head.
_HEADS = {"classification": "classifier/kernel", "question-answering": "qa_outputs/kernel"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a format names tensors.

    Attributes:
        spelling: Which of the name map's columns it follows.
        known: Tells of a name that has no place whether an ALBERT checkpoint may hold it all the
            same; what is not known is refused.
        rename: Turns a name of the map into the file's own.
    """

    spelling: Spelling
    known: Callable[[str], bool]
    rename: Callable[[str], str] = str

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
    """

    directory: Path
    store: Store
    dialect: Dialect
    config: AlbertConfig
    labelled: bool
    tokenizer_files: Mapping[str, bytes]
    given: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def make_checkpoint(found: Found, *, task: str = "auto", allow_nan: bool = False) -> Checkpoint:
    """Read what was found, strictly: every tensor has a place and every place a tensor.

    Raises:
        CheckpointError: The tensors contradict the configuration, or lack the task's head, or
            hold NaN; the message lists every offender.
    """
    store, dialect, config = found.store, found.dialect, found.config
    task = _find_task(found, task)
    if task == "classification":
        config = _fit_labels(found)
    wanted = _match(found, config, task)
    tensors = dict(found.given)
    for name, values in read_float32(store, wanted, allow_nan=allow_nan):
        place = wanted[name]
        transposed = dialect.spell(place)[1]
        tensors[place.name] = np.ascontiguousarray(values.T) if transposed else values
    return Checkpoint(
        config=config,
        task=task,
        tensors=tensors,
        tokenizer_files=found.tokenizer_files,
        source=found.directory.resolve().name,
        sha256=sha256_of(store.files),
        left_out=tuple(sorted(store.tensors.keys() - wanted.keys())),
        notes=found.notes,
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


def _find_task(found: Found, task: str) -> str:
    where, heads = found.store.path, _head_names(found)
    present = [name for name, tensor in heads.items() if tensor in found.store.tensors]
    if task == "auto":
        if len(present) > 1:
            raise CheckpointError(
                f"{where} has heads for {' and '.join(present)}; choose the task."
            )
        return present[0] if present else "feature-extraction"
    if task in heads and task not in present:
        raise CheckpointError(
            f"{where} has no head for {task} (no tensor {heads[task]}), so its answers would be "
            f"random; it can be read for {', '.join(['feature-extraction', *present])}."
        )
    return task


def _head_names(found: Found) -> dict[str, str]:
    """Return the telling tensor of each task, as the file names it."""
    smallest = dataclasses.replace(found.config, num_hidden_groups=1, inner_group_num=1)
    return {
        task: found.dialect.spell(tensor)[0]
        for task, name in _HEADS.items()
        for tensor in tensor_names(smallest, task)
        if tensor.name == name
    }


def _fit_labels(found: Found) -> AlbertConfig:
    """Let the classifier's rows count the labels if the configuration does not name them."""
    config, name = found.config, _head_names(found)["classification"]
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


def _match(found: Found, config: AlbertConfig, task: str) -> dict[str, TensorName]:
    """Give every place its tensor; return the places by the names of the file."""
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
    wanted = {dialect.spell(t)[0]: t for t in places if t.name not in found.given}
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
