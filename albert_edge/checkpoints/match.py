"""Every tensor gets its place and every place its tensor, whatever the format calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.init import init_tensors
from albert_edge.checkpoints.tensor_file import TensorFile, read_float32, sha256_of
from albert_edge.checkpoints.tensor_names import NameFunction, TensorName, head_names, tensor_names
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError
from albert_edge.tasks import TASKS
from albert_edge.tokenizer import tokenizer_from_files

__all__ = [
    "CheckpointContents",
    "TensorNaming",
    "build_checkpoint",
    "check_tied",
    "check_vocabulary",
    "choose_task",
    "has_head",
    "reject_beam_search",
    "rename_tensors",
]

_CLASSIFIERS = ("classification", "token-classification")
# How the head of Google's run_squad_v2 is called in its checkpoints.
_BEAM_SEARCH = ("start_logits/", "end_logits/", "answer_class/")
_MODELS = {"spiece.model", "vocab.txt", "tokenizer.json"}


@dataclass(frozen=True, slots=True)
class TensorNaming:
    """How a format names tensors.

    Attributes:
        spelling: Which of the name map's columns it follows.
        known: Tells of a name that has no place whether an ALBERT checkpoint may hold it all the
            same; what is not known is refused.
        rename: Turns a name of the map into the file's own.
        decoder: What it calls the copy of the word embeddings that it may store for the product
            with the vocabulary.
    """

    spelling: NameFunction
    known: Callable[[str], bool]
    rename: Callable[[str], str] = str
    decoder: str = ""

    def spell(self, tensor: TensorName) -> tuple[str, bool]:
        """Return a tensor's name in the file, and whether the file has its transpose."""
        name, transposed = tensor.stored(self.spelling)
        return self.rename(name), transposed


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointContents:
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
    store: TensorFile
    dialect: TensorNaming
    config: AlbertConfig
    labelled: bool
    tokenizer_files: Mapping[str, bytes]
    given: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def build_checkpoint(
    found: CheckpointContents,
    *,
    task: str = "auto",
    allow_nan: bool = False,
    init_head: bool = False,
) -> Checkpoint:
    """Read what was found, strictly: every tensor has a place and every place a tensor.

    Args:
        found: What to read.
        task: One of `tasks.TASKS`, or "auto" for the head that there is.
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
    reject_beam_search(store.tensors, task, where=str(store.path))
    task = choose_task(
        present,
        task,
        spelled=heads,
        architectures=found.architectures,
        where=str(store.path),
        init_head=init_head,
    )
    if "classifier/kernel" in present and task in ("classification", "token-classification"):
        config = _check_labels(found, heads["classifier/kernel"])
    if task != "classification" and config.early_exit:
        config = dataclasses.replace(config, early_exit=False)
    absent = _missing(config, task, present) if init_head else []
    wanted = _match(found, config, task, {tensor.name for tensor in absent})
    tensors = {**found.given, **init_tensors(absent, config)}
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


def rename_tensors(checkpoint: Checkpoint, dialect: TensorNaming) -> dict[str, np.ndarray]:
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


def _check_labels(found: CheckpointContents, name: str) -> AlbertConfig:
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


def _missing(config: AlbertConfig, task: str, present: set[str]) -> list[TensorName]:
    """List what of a head may be drawn: all that lacks, or the exits if none of them is there."""
    names = head_names(config, task)
    if not has_head(present, task):
        return [tensor for tensor in names if tensor.name not in present]
    exits = [tensor for tensor in names if tensor.name.startswith("exits/")]
    return exits if present.isdisjoint(tensor.name for tensor in exits) else []


def _match(
    found: CheckpointContents, config: AlbertConfig, task: str, absent: set[str]
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


# Which head a checkpoint has, and which one is meant.


def choose_task(
    present: Collection[str],
    task: str,
    *,
    spelled: Mapping[str, str],
    architectures: Collection[str] = (),
    where: str,
    init_head: bool = False,
) -> str:
    """Find the head that is meant.

    `auto` is the one head that there is: of pre-training, both parts if both are there.  A
    classifier is of tokens if there is no pooler; with one it may be either, and `architectures`
    tells.

    Args:
        present: The canonical names of the tensors in the checkpoint.
        task: One of `tasks.TASKS`, or "auto".
        spelled: What the checkpoint calls every tensor of a head, by canonical name.
        architectures: The classes that `config.json` names.
        where: The checkpoint, for error messages.
        init_head: Whether a head that is not there may be random.

    Raises:
        CheckpointError: The head is not there, or it cannot be told which one is meant.
    """
    found = [name for name, known in TASKS.items() if known.head and has_head(present, name)]
    if task != "auto":
        head = TASKS[task].head
        if head and task not in found and not init_head:
            missing = [spelled[mark] for mark in head if mark not in present]
            raise CheckpointError(
                f"{where} has no head for {task} (no tensor {' and no '.join(missing)}), so its "
                "answers would be random; --init-head (init_head=True) makes such a head, to be "
                f"trained. The checkpoint can be read for "
                f"{', '.join(['feature-extraction', *found])}."
            )
        return task
    found = [name for name in found if TASKS[name].part_of not in found]
    if set(_CLASSIFIERS) <= set(found):  # the same tensors
        named = [name for name in _CLASSIFIERS if TASKS[name].architecture in architectures]
        if len(named) == 1:
            found = [name for name in found if name not in _CLASSIFIERS or name in named]
    if len(found) > 1:
        raise CheckpointError(f"{where} has heads for {' and '.join(found)}; choose the task.")
    return found[0] if found else "feature-extraction"


def has_head(present: Collection[str], task: str) -> bool:
    """Tell whether tensors of these canonical names hold the head of `task`."""
    return set(TASKS[task].head) <= set(present)


def reject_beam_search(stored: Iterable[str], task: str, *, where: str) -> None:
    """Refuse the question-answering head that searches for the end behind each of five starts.

    Args:
        stored: The names in a checkpoint.
        task: One of `tasks.TASKS`, or "auto".
        where: The checkpoint, for error messages.

    Raises:
        CheckpointError: It has such a head and that head is meant.
    """
    found = sorted(name for name in stored if name.startswith(_BEAM_SEARCH))
    if found and task in ("auto", "question-answering"):
        raise CheckpointError(
            f"{where} has the beam-search head of Google's run_squad_v2 ({', '.join(found)}), "
            "which is not supported: it needs a pass over the text for every candidate start. "
            "The encoder can be read with the task feature-extraction; the head of run_squad_v1 "
            "(cls/squad/output_weights) can be read for question-answering."
        )


def check_tied(table: np.ndarray, decoder: np.ndarray, *, where: str) -> None:
    """Check that a decoder that was stored beside the word embeddings is the same table.

    Args:
        table: The word embeddings, float32 [V, E].
        decoder: What the checkpoint stores for the product with the vocabulary, float32 [V, E].
        where: The decoder's name, for error messages.

    Raises:
        CheckpointError: They differ.
    """
    if table.shape != decoder.shape or not np.array_equal(table, decoder):
        raise CheckpointError(
            f"{where} {list(decoder.shape)} is not the table of word embeddings "
            f"{list(table.shape)}; an ALBERT that predicts words with another table is not "
            "supported. It can be read for feature-extraction."
        )


# A tokenizer and an embedding have to agree on what an id is.


def check_vocabulary(files: Mapping[str, bytes], vocab_size: int, *, where: str) -> tuple[str, ...]:
    """Check that the embedding has a row for every id of the tokenizer.

    Args:
        files: The tokenizer's files by name; none are fine.
        vocab_size: V, the rows of the embedding.
        where: The checkpoint, for error messages.

    Returns:
        A note if there are rows that no text reaches.

    Raises:
        CheckpointError: The tokenizer has more ids than the embedding has rows.
        TokenizerError: The tokenizer cannot be used.
    """
    if _MODELS.isdisjoint(files):
        return ()
    ids = tokenizer_from_files(files, where=where).vocab_size
    if ids > vocab_size:
        raise CheckpointError(
            f"{where}: the tokenizer has {ids} ids, and the embedding {vocab_size} rows "
            "(vocab_size): it is another model's tokenizer."
        )
    if ids < vocab_size:
        return (
            f"the tokenizer has {ids} ids: {vocab_size - ids} rows of the embedding are unused",
        )
    return ()
