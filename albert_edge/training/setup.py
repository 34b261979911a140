"""The setup of a fine-tuning: files become a checkpoint, an objective and a dev set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.datasets.examples import DataFile, Examples, read_data_file, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.datasets.tables import FileContent
from albert_edge.errors import InputError, TrainingError, list_choices
from albert_edge.tasks import PROBLEM_TYPES
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.training.dev_metrics import DevEvaluator
from albert_edge.training.init import DEFAULT_CONFIG, init_from_scratch, with_new_head
from albert_edge.training.objective import TaskObjective
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.state import fingerprint
from albert_edge.training.tasks import OBJECTIVES

__all__ = ["TrainingSetup", "make_setup"]

# The kind of a file's examples where neither the user nor a checkpoint's head determines it.
_KINDS = {
    ".json": "question-answering",
    **dict.fromkeys((".conll", ".txt", ".iob", ".iob2", ".bio"), "token-classification"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSetup:
    """A training before its first step.

    Attributes:
        start: The checkpoint to train.
        objective: The examples and the loss.
        dev: The examples to evaluate the model on after every epoch, if any.
        fingerprint: The digest of all that the training depends on.
    """

    start: Checkpoint
    objective: TaskObjective
    dev: Examples | None
    fingerprint: str


def make_setup(
    data: Path,
    dev: Path | None,
    *,
    source: str | None,
    init_head: bool,
    config: Path | None,
    task: str | None,
    labels: Sequence[str] | None,
    data_options: EvaluateOptions,
    teacher_column: str | None,
    early_exit: bool,
    options: FinetuneOptions,
) -> TrainingSetup:
    """Read the files of `finetune_files`, each of them once; arguments as there."""
    if source is not None and config is not None:
        raise TrainingError(
            "a model has the shape of the checkpoint that it starts from; drop --config."
        )
    if task is not None and task not in OBJECTIVES:
        raise TrainingError(f"task must be one of {', '.join(OBJECTIVES)}, not {task!r}.")
    before = None if source is None else _read_source(source, task, init_head=init_head)
    with_head = None if init_head else before
    kind = task or _kind(data, with_head)
    if teacher_column is not None and kind not in PROBLEM_TYPES:
        raise TrainingError(f"a teacher's column is for classification, not {kind}.")
    contents = [FileContent.read(path) for path in (data, dev) if path]
    file = read_data_file(contents[0], kind, data_options, teacher_column=teacher_column)
    names = _labels(data, kind, labels, file, with_head)
    examples = file.examples(names)
    if examples.skip_bad:
        examples = _usable(examples, options)
    objective = OBJECTIVES[kind](examples)
    if before is None:
        start = _from_scratch(config, objective, early_exit=early_exit, seed=options.seed)
    else:
        _check_head(before, objective, str(source), init_head=init_head)
        start = _with_head(before, objective, early_exit=early_exit, seed=options.seed)
    dev_examples = None if dev is None else read_examples(contents[1], kind, names, data_options)
    if examples.skip_bad:
        positions = start.config.max_position_embeddings
        encoding = dataclasses.replace(options, window=min(options.window, positions))
        tokenizer = tokenizer_from_files(start.tokenizer_files)
        objective = OBJECTIVES[kind](_usable(examples, encoding, tokenizer))
        dev_examples = dev_examples and DevEvaluator(start, dev_examples).examples
    digest = fingerprint(
        start,
        *(file.content for file in contents),
        objective.labels,
        _DataOptions(data_options),
        teacher_column,
        options,
    )
    return TrainingSetup(start=start, objective=objective, dev=dev_examples, fingerprint=digest)


class _DataOptions:
    """Options of the data, spelled in a fingerprint as version 0.1 spelled them.

    So a training that it began can be resumed.  Options that came later are spelled only where they
    are set.
    """

    def __init__(self, options: EvaluateOptions) -> None:
        self._options = options

    def __repr__(self) -> str:
        options = {
            field.name: getattr(self._options, field.name)
            for field in dataclasses.fields(self._options)
            if field.name not in ("quoting", "skip_bad")
            or getattr(self._options, field.name) != field.default
        }
        options["pair_column"] = options["pair_column"] or "text_pair"
        return f"EvaluateOptions({', '.join(f'{k}={v!r}' for k, v in options.items())})"


def _usable(
    examples: Examples, options: FinetuneOptions, tokenizer: Tokenizer | None = None
) -> Examples:
    """Return the examples that can be trained on, and with a tokenizer, also encoded."""
    bad = {}
    plain = dataclasses.replace(options, sampling=1.0, word_dropout=0.0, joining=0.0)
    for index in range(len(examples)):
        try:
            objective = OBJECTIVES[examples.kind](examples.take([index]))
            if tokenizer:
                objective.encode_epoch(tokenizer, plain, np.random.default_rng(0))
        except (InputError, TrainingError) as error:
            bad[index] = str(error)
    return examples.without(bad) if bad else examples


def _read_source(source: str, task: str | None, *, init_head: bool) -> Checkpoint:
    if task is None or init_head:
        return read_checkpoint(source)
    return read_checkpoint(source, task="classification" if task in PROBLEM_TYPES else task)


def _kind(data: Path, before: Checkpoint | None) -> str:
    if before is not None and before.task == "classification":
        return before.config.kind
    if before is not None and before.task in OBJECTIVES:
        return before.task
    return _KINDS.get(data.suffix, "classification")


def _labels(
    data: Path,
    kind: str,
    given: Sequence[str] | None,
    file: DataFile,
    before: Checkpoint | None,
) -> tuple[str, ...]:
    """Return the given labels; else those of the head if they include the file's; else the file's.

    Args:
        data: The file, for messages.
        kind: The kind of its examples.
        given: The user's labels, if any.
        file: The parsed file.
        before: The checkpoint whose head is kept, if any.
    """
    if kind in ("question-answering", "summarization"):
        if given:
            raise TrainingError(f"{kind} has no labels; drop --labels.")
        return ()
    labels = tuple(given) if given else file.labels()
    if not given and before is not None:
        known = before.config.labels
        fits = len(labels) == len(known) if kind == "regression" else set(labels) <= set(known)
        labels = known if fits else labels
    least = 2 if kind in ("classification", "token-classification") else 1
    if len(labels) < least or len(set(labels)) != len(labels):
        raise TrainingError(f"{data}: expected two distinct labels or more, got {list(labels)}.")
    return labels


def _from_scratch(
    config: Path | None, objective: TaskObjective, *, early_exit: bool, seed: int
) -> Checkpoint:
    shape = DEFAULT_CONFIG if config is None else AlbertConfig.read(config)
    texts = _texts(objective.examples)
    start = init_from_scratch(shape, texts, objective.labels, task=objective.task, seed=seed)
    return _with_head(start, objective, early_exit=early_exit, seed=seed)


def _texts(examples: Examples) -> list[str]:
    """Return the texts to train a vocabulary on; a context once, however many questions it has."""
    found = [
        part if isinstance(part, str) else " ".join(part)
        for inputs in examples.inputs
        for part in inputs.values()
        if not isinstance(part, int)
    ]
    return list(dict.fromkeys(found)) if examples.kind == "question-answering" else found


def _check_head(
    before: Checkpoint, objective: TaskObjective, source: str, *, init_head: bool
) -> None:
    labels_fit = not objective.labels or _fits(before.config, objective)
    if init_head or (before.task == objective.task and labels_fit):
        return
    verbs = {
        "classification": "classifies into",
        "regression": "predicts",
        "multi-label": "marks",
        None: "labels words with",
    }
    named = f"for {objective.task}"
    if objective.labels:
        named = f"that {verbs[objective.kind]} {list_choices(objective.labels)}"
    raise TrainingError(
        f"{source} has no head {named}; it is for {before.task} "
        f"({list_choices(before.config.labels)}). --init-head (init_head=True) keeps its encoder "
        "and starts with a random head."
    )


def _fits(config: AlbertConfig, objective: TaskObjective) -> bool:
    return config.labels == objective.labels and objective.kind in (None, config.kind)


def _with_head(
    before: Checkpoint, objective: TaskObjective, *, early_exit: bool, seed: int
) -> Checkpoint:
    fits = _fits(before.config, objective)
    changes: dict[str, Any] = {}
    if not fits:
        single = objective.kind in (None, "classification")
        changes["problem_type"] = None if single else PROBLEM_TYPES[str(objective.kind)]
    if not (fits and before.task == objective.task):
        changes["early_exit"] = False  # its exits are trained for the old head's labels
    if early_exit:
        if objective.task != "classification":
            raise TrainingError(f"early exits are for classification, not {objective.task}.")
        changes["early_exit"] = True
    return with_new_head(before, objective.labels, seed=seed, task=objective.task, changes=changes)
