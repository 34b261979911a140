"""Build a checkpoint from a format's tensors: match names and shapes, choose the task.

Loading is strict.  Every tensor that the configuration and the task need must be there with its
shape, and every other tensor must be one that the format is known to store beside them.  The
tokenizer must fit the embedding.  An error lists every offender.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.init import init_tensors
from albert_edge.checkpoints.tensor_file import TensorFile, read_float32, sha256_of
from albert_edge.checkpoints.tensor_names import (
    HEADS,
    NameFormat,
    TensorName,
    head_names,
    tensor_names,
)
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError, list_choices
from albert_edge.tasks import TASKS
from albert_edge.tokenizer import VOCABULARY_FILES, tokenizer_from_files

# Heads with the same tensors, but for the pooler of the first.
_CLASSIFIERS = tuple(name for name, task in TASKS.items() if task.has_labels)
_MULTIPLE_CHOICE = "AlbertForMultipleChoice"
# All problems are listed, unless there are so many that they have one cause.
_MOST_PROBLEMS, _SHOWN_PROBLEMS = 24, 6
# The tensors of the head of Google's run_squad_v2.
_BEAM_SEARCH = ("start_logits/", "end_logits/", "answer_class/")


@dataclass(frozen=True, slots=True)
class TensorNaming:
    """The names that a format gives to tensors.

    Attributes:
        format: The attribute of `TensorName` with the format's names.
        is_ignorable: Returns whether an ALBERT checkpoint of the format may hold a tensor of this
            name that the task does not need.  Any other unneeded tensor is an error.
        rename: Maps a name of `TensorName` to the name in this file; empty if its values follow
            from the configuration.
        decoder: The name of the copy of the word embeddings that the format may store for the
            product with the vocabulary.
    """

    format: NameFormat
    is_ignorable: Callable[[str], bool]
    rename: Callable[[str], str] = str
    decoder: str = ""

    def stored_name(self, tensor: TensorName) -> tuple[str, bool]:
        """Return a tensor's name in the file, and whether the file has its transpose."""
        name, transposed = tensor.name_in(self.format)
        return self.rename(name), transposed


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointContents:
    """The contents of a checkpoint's directory, before the tensors are matched.

    Attributes:
        directory: The directory.
        file: The tensors.
        naming: The names of the tensors.
        config: The configuration.
        has_label_count: Whether the configuration states the number of labels.
        tokenizer_files: The tokenizer's files by this project's names for them.
        implied: float32 arrays by canonical name: tensors that the format does not store because
            their values follow from the configuration.
        notes: Remarks for the user.
        architectures: The classes that the configuration names, as ALBERT's are called.
        default_architectures: The classes to assume where it names none.
        changes: The changes that this project made to the weights earlier; see `Checkpoint`.
    """

    directory: Path
    file: TensorFile
    naming: TensorNaming
    config: AlbertConfig
    has_label_count: bool
    tokenizer_files: Mapping[str, bytes]
    implied: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    default_architectures: tuple[str, ...] = ()
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def build_checkpoint(
    contents: CheckpointContents,
    *,
    task: str = "auto",
    allow_nan: bool = False,
    init_head: bool = False,
) -> Checkpoint:
    """Read the tensors that the configuration and the task need, strictly.

    Args:
        contents: The contents of the directory.
        task: One of `tasks.TASKS`, or "auto" for the head that the checkpoint has.
        allow_nan: Whether weights may be NaN or infinite.
        init_head: Whether to initialize a missing head randomly, always with the same values.

    Raises:
        CheckpointError: The tensors do not match the configuration, the task's head is missing, a
            weight is NaN, or the tokenizer does not fit the embedding.
        TokenizerError: The tokenizer cannot be used.
    """
    file, naming, config = contents.file, contents.naming, contents.config
    where = str(file.path)
    vocabulary_notes = _check_vocabulary(contents)
    stored_names = {
        t.name: naming.stored_name(t)[0] for kind in TASKS for t in head_names(config, kind)
    }
    present = {
        name
        for name in stored_names
        if stored_names[name] in file.tensors or name in contents.implied
    }
    reject_beam_search(file.tensors, task, where=where)
    asked = task
    task = choose_task(
        present,
        task,
        stored_names=stored_names,
        architectures=contents.architectures or contents.default_architectures,
        where=where,
        init_head=init_head,
    )
    notes = _compare_architectures(contents, task) if asked == "auto" else ()
    if "classifier/kernel" in present and task in _CLASSIFIERS:
        config = _with_label_count(contents, stored_names["classifier/kernel"])
    if config.early_exit and not TASKS[task].can_exit_early:
        config = dataclasses.replace(config, early_exit=False)
    missing = _missing_head_tensors(config, task, present) if init_head else []
    needed = _match_tensors(contents, config, task, skip={tensor.name for tensor in missing})
    tensors = {**contents.implied, **(init_tensors(missing, config) if missing else {})}
    for name, values in read_float32(file, needed, allow_nan=allow_nan):
        tensor = needed[name]
        transposed = naming.stored_name(tensor)[1]
        tensors[tensor.name] = np.ascontiguousarray(values.T) if transposed else values
    tied = {naming.decoder} & file.tensors.keys() if "predictions/bias" in tensors else set()
    for name, values in read_float32(file, tied, allow_nan=allow_nan):
        _check_tied(tensors["embeddings/word_embeddings"], values, where=f"{where}: {name}")
    return Checkpoint(
        config=config,
        task=task,
        tensors=tensors,
        tokenizer_files=contents.tokenizer_files,
        source=contents.directory.resolve().name,
        sha256=sha256_of(file.files),
        unused=tuple(sorted(file.tensors.keys() - needed.keys() - tied)),
        randomly_initialized=tuple(tensor.name for tensor in missing),
        notes=(*contents.notes, *notes, *vocabulary_notes),
        changes=contents.changes,
    )


def rename_tensors(checkpoint: Checkpoint, naming: TensorNaming) -> dict[str, np.ndarray]:
    """Return a checkpoint's tensors with the names and layout of a format.

    Raises:
        CheckpointError: The tensors do not match the configuration and the task, or the format has
            no name for one; the message lists every offender.
    """
    config, task, tensors = checkpoint.config, checkpoint.task, checkpoint.tensors
    needed = tensor_names(config, task, pooler="pooler/kernel" in tensors)
    expected = {tensor.name: tensor.shape for tensor in needed}
    shapes = {name: values.shape for name, values in tensors.items()}
    if problems := [
        f"{name} is {shapes.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
        for name in sorted({name for name, _ in shapes.items() ^ expected.items()})
    ]:
        raise CheckpointError(f"the tensors do not fit {task}: {'; '.join(problems)}.")
    if nameless := [tensor.name for tensor in needed if not tensor.name_in(naming.format)[0]]:
        raise CheckpointError(
            f"{naming.format} has no name for {', '.join(nameless)}; write another format."
        )
    renamed = {}
    for tensor in needed:
        name, transposed = naming.stored_name(tensor)
        if name:  # the format has no such tensor where it has no name
            renamed[name] = tensors[tensor.name].T if transposed else tensors[tensor.name]
    return renamed


def choose_task(
    present: Collection[str],
    task: str,
    *,
    stored_names: Mapping[str, str],
    architectures: Collection[str] = (),
    where: str,
    init_head: bool = False,
) -> str:
    """Return the task to load a checkpoint for.

    "auto" selects the task of the only head, and `pretraining` if both of its parts are present.  A
    classifier without a pooler labels tokens.  With a pooler it can be of either kind, which
    `architectures` decides.

    Args:
        present: The canonical names of the tensors in the checkpoint.
        task: One of `tasks.TASKS`, or "auto".
        stored_names: The checkpoint's name of every tensor of a head, by canonical name.
        architectures: The classes that `config.json` names.
        where: The checkpoint, for error messages.
        init_head: Whether a missing head may be initialized randomly.

    Raises:
        CheckpointError: The head is missing, or there are several.
    """
    found = [name for name, known in TASKS.items() if known.head and _has_head(present, name)]
    if task != "auto":
        head = TASKS[task].head
        if head and task not in found and not init_head:
            missing = [stored_names[name] for name in head if name not in present]
            raise CheckpointError(
                f"{where} has no head for {task} (no tensor {' and no '.join(missing)}), so its "
                "predictions would be random; --init-head (init_head=True) adds such a head, to be "
                f"trained. The checkpoint can be read for "
                f"{', '.join(['feature-extraction', *found])}."
            )
        return task
    found = [name for name in found if TASKS[name].part_of not in found]
    if set(_CLASSIFIERS) <= set(found):
        named = [name for name in _CLASSIFIERS if TASKS[name].architecture in architectures]
        if len(named) == 1:
            found = [name for name in found if name not in _CLASSIFIERS or name in named]
    if len(found) > 1:
        raise CheckpointError(f"{where} has heads for {' and '.join(found)}; choose the task.")
    return found[0] if found else "feature-extraction"


def reject_beam_search(stored: Iterable[str], task: str, *, where: str) -> None:
    """Reject the question-answering head that scores the end for each of five candidate starts.

    Args:
        stored: The names of the tensors in a checkpoint.
        task: One of `tasks.TASKS`, or "auto".
        where: The checkpoint, for error messages.

    Raises:
        CheckpointError: The checkpoint has such a head, and the task is to be question answering.
    """
    found = sorted(name for name in stored if name.startswith(_BEAM_SEARCH))
    if found and task in ("auto", "question-answering"):
        raise CheckpointError(
            f"{where} has the beam-search head of Google's run_squad_v2 ({', '.join(found)}), "
            "which is not supported: it needs a pass over the text for every candidate start. "
            "The encoder can be read with the task feature-extraction; the head of run_squad_v1 "
            "(cls/squad/output_weights) can be read for question-answering."
        )


def _compare_architectures(contents: CheckpointContents, task: str) -> tuple[str, ...]:
    """Compare the head that was found with the classes that `config.json` names.

    Returns:
        A note if they differ.

    Raises:
        CheckpointError: The head is of a kind that is not supported.
    """
    named = contents.architectures
    if not named or any(TASKS[task].architecture == name for name in named):
        return ()
    where = f"{contents.directory}: the configuration names {', '.join(named)}"
    if task == "feature-extraction" and (parts := _head_tensors(contents)):
        raise CheckpointError(
            f"{where}, whose head is not one that is supported: it has {_listed(parts)}. "
            "The encoder alone can be read with the task feature-extraction."
        )
    if _MULTIPLE_CHOICE in named:
        raise CheckpointError(
            f"{where}, whose head scores choices, which is not supported. The encoder alone can be "
            "read with the task feature-extraction."
        )
    found = f"a head for {task}" if TASKS[task].head else "no head"
    return (f"the configuration names {', '.join(named)}, and the weights have {found}",)


def _head_tensors(contents: CheckpointContents) -> list[str]:
    """Return the names of the tensors beside those of the encoder."""
    names = tensor_names(contents.config, "feature-extraction")
    encoder = {contents.naming.stored_name(tensor)[0] for tensor in names}
    return sorted(
        name for name in contents.file.tensors.keys() - encoder if "position_ids" not in name
    )


def _listed(problems: Sequence[str], separator: str = ", ") -> str:
    """Join problems; of very many, which have one cause, the first and the number of the rest."""
    shown = problems if len(problems) <= _MOST_PROBLEMS else problems[:_SHOWN_PROBLEMS]
    rest = len(problems) - len(shown)
    return separator.join(shown) + (f"{separator}and {rest} more" if rest else "")


def _has_head(present: Collection[str], task: str) -> bool:
    return set(TASKS[task].head) <= set(present)


def _check_tied(table: np.ndarray, decoder: np.ndarray, *, where: str) -> None:
    """Check that the stored decoder, float32 [V, E], equals the word embeddings `table`."""
    if not np.array_equal(table, decoder):
        raise CheckpointError(
            f"{where} {list(decoder.shape)} differs from the table of word embeddings "
            f"{list(table.shape)}; a masked-language-model head with its own table is not "
            "supported. The encoder can be read with the task feature-extraction."
        )


def _check_vocabulary(contents: CheckpointContents) -> tuple[str, ...]:
    """Check that the embedding has a row for every id of the tokenizer, if there is one.

    Returns:
        A note if the embedding has more rows than the tokenizer has ids.
    """
    where, rows = contents.directory, contents.config.vocab_size
    if contents.tokenizer_files.keys().isdisjoint(VOCABULARY_FILES):
        return ()
    ids = tokenizer_from_files(contents.tokenizer_files, where=str(where)).vocab_size
    if ids > rows:
        raise CheckpointError(
            f"{where}: the tokenizer has {ids} ids, and the embedding {rows} rows (vocab_size): "
            "the tokenizer belongs to another model."
        )
    if ids < rows:
        return (f"the tokenizer has {ids} ids: {rows - ids} rows of the embedding are unused",)
    return ()


def _with_label_count(contents: CheckpointContents, name: str) -> AlbertConfig:
    """Take the number of labels from the classifier `name` if the configuration has none."""
    config, file = contents.config, contents.file
    # Every format stores labels first, except for this project's own names.
    shape = file.tensors[name].shape
    rows, *rest = shape[::-1] if contents.naming.format == "name" else shape or (0,)
    if rest != [config.hidden_size] or rows in (0, config.num_labels):
        return config  # the shape is right, or `_match_tensors` reports it
    if contents.has_label_count:
        raise CheckpointError(
            f"{file.path}: the configuration has {config.num_labels} labels "
            f"({list_choices(config.labels)}), and {name} has {rows} rows."
        )
    return dataclasses.replace(config, labels=tuple(f"LABEL_{row}" for row in range(rows)))


def _missing_head_tensors(config: AlbertConfig, task: str, present: set[str]) -> list[TensorName]:
    """List the tensors to initialize: of a missing head, or all exits of a head without any.

    A head or exits that are present in part are damaged, and `_match_tensors` reports them.
    """
    names = head_names(config, task)
    if not _has_head(present, task):
        return [tensor for tensor in names if tensor.name not in present]
    exits = [tensor for tensor in names if tensor.name.startswith("exits/")]
    return exits if present.isdisjoint(tensor.name for tensor in exits) else []


def _match_tensors(
    contents: CheckpointContents, config: AlbertConfig, task: str, *, skip: set[str]
) -> dict[str, TensorName]:
    """Return the tensors to read by their names in the file, all but those in `skip`."""
    where, naming = contents.file.path, contents.naming
    shapes = {name: list(tensor.shape) for name, tensor in contents.file.tensors.items()}
    layers = config.num_hidden_groups * config.inner_group_num
    if layers > len(shapes):  # before a million names are listed
        raise CheckpointError(
            f"the configuration asks for {layers} distinct layers; "
            f"{where} has {len(shapes)} tensors."
        )
    poolers = {naming.stored_name(t)[0] for t in tensor_names(config, task) if "pooler/" in t.name}
    tensors = tensor_names(config, task, pooler=not poolers.isdisjoint(shapes))
    skip = skip | contents.implied.keys()
    needed = {naming.stored_name(t)[0]: t for t in tensors if t.name not in skip}
    # Other heads are ignored, but not other layers of the head that is read.
    heads = {part for part in HEADS[task] if part not in ("pooler", "predictions")}
    own = tuple(f"{part}{mark}" for part in heads - {"exits"} for mark in "./")
    expected = {
        name: list(tensor.shape[::-1] if naming.stored_name(tensor)[1] else tensor.shape)
        for name, tensor in needed.items()
    }
    problems = [f"{name} {expected[name]} is missing" for name in needed if name not in shapes]
    problems += [
        f"{name} has shape {shapes[name]}, expected {expected[name]}"
        for name in needed
        if name in shapes and shapes[name] != expected[name]
    ]
    problems += [
        f"{name} {shape} is unexpected"
        for name, shape in sorted(shapes.items())
        if name not in needed and (name.startswith(own) or not naming.is_ignorable(name))
    ]
    if problems:
        raise CheckpointError(f"{where} does not fit its configuration: {_listed(problems, '; ')}.")
    return needed
