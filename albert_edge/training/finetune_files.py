"""Fine-tune from a data file to a checkpoint on disk."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from albert_edge.checkpoints import (
    Checkpoint,
    check_folder,
    count_parameters,
    read_checkpoint,
    write_checkpoint,
)
from albert_edge.config import AlbertConfig
from albert_edge.datasets import (
    DataFile,
    EvaluateOptions,
    Examples,
    FileContent,
    read_data_file,
    read_examples,
)
from albert_edge.errors import InputError, TrainingError, list_choices, requires_extra
from albert_edge.tasks import PROBLEM_TYPES, TASKS
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.training.options import BestCheckpoint, FinetuneOptions

__all__ = ["finetune_files", "texts_of"]

with requires_extra("train"):
    from albert_edge.training.dev_metrics import DevEvaluator
    from albert_edge.training.distill import Teacher
    from albert_edge.training.finetune import EpochResult, find_warnings, finetune
    from albert_edge.training.init import DEFAULT_CONFIG, init_from_scratch, with_new_head
    from albert_edge.training.objective import TaskObjective
    from albert_edge.training.progress import epoch_progress
    from albert_edge.training.state import StateWriter, check_state, fingerprint, open_state
    from albert_edge.training.tasks import OBJECTIVES

# The kind of a file's examples where neither the user nor a checkpoint's head determines it.
_KINDS = {
    ".json": "question-answering",
    **dict.fromkeys((".conll", ".txt", ".iob", ".iob2", ".bio"), "token-classification"),
}


def finetune_files(
    data: Path,
    output: Path,
    *,
    source: str | Checkpoint | None = None,
    init_head: bool = False,
    config: Path | None = None,
    dev: Path | None = None,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    data_options: EvaluateOptions | None = None,
    teacher_column: str | None = None,
    teacher: Teacher | None = None,
    early_exit: bool = False,
    options: FinetuneOptions | None = None,
    selection: BestCheckpoint | None = None,
    save_every_s: float = 60.0,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train an ALBERT on a data file, and write the model after every epoch that is kept.

    The state of the training is saved at intervals beside the output, in `OUTPUT.training`.

    Args:
        data: The training file, in a form that `evaluate` reads for the same task.
        output: The directory to write, which `read_checkpoint` reads.  Its parent must exist.
        source: The checkpoint to start from, or where it is; None for a new model.
        init_head: Whether the head may start from random weights if `source` lacks one for these
            labels.
        config: The `config.json` of a new model; None for `init.DEFAULT_CONFIG`.
        dev: The file to compute the task's metrics on.
        task: The kind of the examples, a key of `tasks.OBJECTIVES`; None for that of the head of
            `source`, or else of such files.
        labels: The names of the labels; None for those in `data`.
        data_options: The names of the columns.
        teacher_column: The column of a teacher's probabilities, which are then the targets.
        teacher: The teacher whose outputs count beside the labels.
        early_exit: Whether to train a head after every layer.
        options: The options of the training.
        selection: The epoch that is kept, and when to stop early.
        save_every_s: The least time between two saves of the state.
        resume: Whether to resume an interrupted training.
        force: Whether to replace a checkpoint in `output`, and to discard an interrupted training.
        console: The console for progress bars, if it is a terminal.

    Returns:
        A report ready for JSON: `output`, `task`, `labels`, `parameters`, `train_examples`,
        `truncated` (examples that were cut in the first epoch), `skipped` and `dev_skipped` (those
        that were left out, where `data_options` allow it), `dev_examples`, `metric` (the
        official one, by which the best epoch is chosen), `kept_epoch`, its `dev_accuracy` with the
        95% interval `dev_interval` (None where it is not a share of the examples) and all its
        `dev_metrics`, `epochs`, `options`, `selection`, `early_exit` (of the model), `warnings`
        (that the training diverged, or nothing was learned, and what to do), `resumed`,
        `duration_s`.

    Raises:
        TrainingError: The data or an option is invalid, or the state to resume from is missing,
            damaged, or of another training.
        InputError: A data file cannot be read or does not fit.
        CheckpointError: `source` cannot be read.
        ConfigError: `config` cannot be read.
        OutputError: `output` holds a checkpoint or an interrupted training and `force` is false,
            or cannot be written.
    """
    options, selection = options or FinetuneOptions(), selection or BestCheckpoint()
    state = output.with_name(f"{output.name}.training")
    check_state(state, resume=resume, force=force)
    check_folder(output, force=force or resume)
    if dev is None and selection.needs_dev:
        raise TrainingError("a selection by a dev set needs --dev.")
    began = time.monotonic()
    setup = make_setup(
        data,
        dev,
        source=source,
        init_head=init_head,
        config=config,
        task=task,
        labels=labels,
        data_options=data_options or EvaluateOptions(),
        teacher_column=teacher_column,
        teacher=teacher,
        early_exit=early_exit,
        options=options,
    )
    saved = open_state(state, owner=setup.fingerprint, resume=resume)
    epochs = [dict(entry) for entry in saved.history] if saved else []
    best: EpochResult | None = None  # None where it was before the training was interrupted
    writer = StateWriter(state, setup.fingerprint, every_s=save_every_s, history=epochs)
    with epoch_progress(console, epochs, options.epochs) as progress:
        for result in finetune(
            setup.start,
            setup.objective,
            dev=setup.dev,
            options=options,
            writer=writer,
            saved=saved,
            progress=progress,
        ):
            epochs.append(result.to_dict())
            kept = _best_epoch(epochs) if selection.keep == "best" else len(epochs) - 1
            if kept == len(epochs) - 1:
                best = result
                write_checkpoint(output, result.checkpoint, force=force or resume or kept > 0)
            if _should_stop(epochs, selection):
                break
    state.unlink(missing_ok=True)
    return {
        "output": str(output),
        **_report(setup, epochs, kept),
        "options": dataclasses.asdict(options),
        "selection": dataclasses.asdict(selection),
        "early_exit": setup.start.config.early_exit,
        "warnings": find_warnings(
            epochs,
            best,
            data=setup.objective.examples,
            dev=setup.dev,
            options=options,
            scale=teacher.teaching.temperature**2 if teacher else 1.0,
        ),
        "resumed": resume,
        "duration_s": round(time.monotonic() - began, 1),
    }


def _report(setup: TrainingSetup, epochs: list[dict[str, Any]], kept: int) -> dict[str, Any]:
    objective, epoch = setup.objective, epochs[kept]
    return {
        "task": objective.examples.kind,
        "labels": list(objective.labels),
        "parameters": count_parameters(setup.start.config, setup.start.task),
        "train_examples": len(objective),
        "truncated": epochs[0]["truncated"],
        "skipped": len(objective.examples.skipped),
        "dev_skipped": len(setup.dev.skipped) if setup.dev else 0,
        "dev_examples": len(setup.dev) if setup.dev else None,
        "metric": next(iter(epoch["dev"]), None),
        "kept_epoch": epoch["epoch"],
        "dev_accuracy": epoch["dev_accuracy"],
        "dev_interval": epoch["dev_interval"],
        "dev_metrics": epoch["dev"],
        "epochs": epochs,
    }


def _best_epoch(epochs: Sequence[Mapping[str, Any]]) -> int:
    """Return the index of the first epoch with the highest `dev_score`; None is the lowest."""
    scores = [-math.inf if one["dev_score"] is None else one["dev_score"] for one in epochs]
    return scores.index(max(scores))


def _should_stop(epochs: Sequence[Mapping[str, Any]], selection: BestCheckpoint) -> bool:
    """Return whether the training ends early after these epochs."""
    patience = selection.patience_epochs
    return patience is not None and len(epochs) > _best_epoch(epochs) + patience


# The setup of a fine-tuning: files become a checkpoint, an objective and a dev set.


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
    source: str | Checkpoint | None,
    init_head: bool,
    config: Path | None,
    task: str | None,
    labels: Sequence[str] | None,
    data_options: EvaluateOptions,
    teacher_column: str | None,
    teacher: Teacher | None,
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
    if teacher:
        objective = teacher.teach(objective, options)
    digest = fingerprint(
        start,
        *(file.content for file in contents),
        objective.labels,
        _DataOptions(data_options),
        teacher_column,
        options,
        *([teacher.fingerprint()] if teacher else []),
    )
    return TrainingSetup(start=start, objective=objective, dev=dev_examples, fingerprint=digest)


_FIRST_OPTIONS = (
    *("task", "bullets", "text_column", "pair_column", "label_column", "limit", "workers"),
    *("null_threshold", "stem", "patience", "threshold", "max_layers"),
)


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
            if field.name in _FIRST_OPTIONS or getattr(self._options, field.name) != field.default
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


def _read_source(source: str | Checkpoint, task: str | None, *, init_head: bool) -> Checkpoint:
    if isinstance(source, Checkpoint):
        return source
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
    texts = texts_of(objective.examples)
    start = init_from_scratch(shape, texts, objective.labels, task=objective.task, seed=seed)
    return _with_head(start, objective, early_exit=early_exit, seed=seed)


def texts_of(examples: Examples) -> list[str]:
    """Return the texts of a vocabulary; a context once, however many questions it has."""
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
        if not TASKS[objective.task].can_exit_early:
            able = ", ".join(name for name, task in TASKS.items() if task.can_exit_early)
            raise TrainingError(f"early exits are for {able}, not for {objective.task}.")
        changes["early_exit"] = True
    return with_new_head(before, objective.labels, seed=seed, task=objective.task, changes=changes)
