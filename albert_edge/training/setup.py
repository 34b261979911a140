"""What is to be trained, and on what: files become a checkpoint, a lesson and a dev set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.datasets.examples import Examples, find_labels, read_examples
from albert_edge.errors import TrainingError
from albert_edge.evaluation import EvaluateOptions
from albert_edge.tasks import PROBLEM_TYPES
from albert_edge.training.distill import add_teacher_targets
from albert_edge.training.init import DEFAULT_CONFIG, init_from_scratch, with_new_head
from albert_edge.training.objective import TaskObjective
from albert_edge.training.tasks import OBJECTIVES, read_objective
from albert_edge.training.tasks.classification import ClassificationObjective

__all__ = ["TrainingSetup", "make_setup"]

# The kind of a file's examples where neither the user nor a checkpoint's head tells.
_KINDS = {
    ".json": "question-answering",
    **dict.fromkeys((".conll", ".txt", ".iob", ".iob2", ".bio"), "token-classification"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSetup:
    """A training before its first step.

    Attributes:
        start: What is trained.
        lesson: What it is to learn.
        dev: What it is asked after every epoch, if anything.
    """

    start: Checkpoint
    lesson: TaskObjective
    dev: Examples | None


def make_setup(
    data: Path,
    dev: Path | None,
    *,
    source: str | None,
    init_head: bool,
    config: Path | None,
    task: str | None,
    labels: Sequence[str] | None,
    reading: EvaluateOptions,
    teacher_column: str | None,
    early_exit: bool,
    seed: int,
) -> TrainingSetup:
    """Read what `finetune_files` is given; arguments as there."""
    if source is not None and config is not None:
        raise TrainingError(
            "a model has the shape of the checkpoint it starts from; drop --config."
        )
    if task is not None and task not in OBJECTIVES:
        raise TrainingError(f"task must be one of {', '.join(OBJECTIVES)}, not {task!r}.")
    before = None if source is None else _read(source, task, init_head=init_head)
    kind = task or _kind(data, None if init_head else before)
    names = _labels(data, kind, labels, None if init_head else before, reading)
    lesson = read_objective(data, kind, names, reading)
    if teacher_column is not None:
        if not isinstance(lesson, ClassificationObjective):
            raise TrainingError(f"a teacher's column is for classification, not {kind}.")
        lesson = add_teacher_targets(lesson, data, teacher_column)
    if before is None:
        start = _fresh(config, lesson, early_exit=early_exit, seed=seed)
    else:
        _check_head(before, lesson, str(source), init_head=init_head)
        start = _with_head(before, lesson, early_exit=early_exit, seed=seed)
    held_out = None if dev is None else read_examples(dev, kind, names, reading)
    return TrainingSetup(start=start, lesson=lesson, dev=held_out)


def _read(source: str, task: str | None, *, init_head: bool) -> Checkpoint:
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
    before: Checkpoint | None,
    reading: EvaluateOptions,
) -> tuple[str, ...]:
    """Return the given labels; or those that a head has, if the data use no others; or theirs."""
    if kind in ("question-answering", "summarization"):
        if given:
            raise TrainingError(f"{kind} has no labels; drop --labels.")
        return ()
    labels = tuple(given) if given else find_labels(data, kind, reading)
    if not given and before is not None:
        known = before.config.labels
        fits = len(labels) == len(known) if kind == "regression" else set(labels) <= set(known)
        labels = known if fits else labels
    least = 2 if kind in ("classification", "token-classification") else 1
    if len(labels) < least or len(set(labels)) != len(labels):
        raise TrainingError(f"{data}: expected two distinct labels or more, got {list(labels)}.")
    return labels


def _fresh(
    config: Path | None, lesson: TaskObjective, *, early_exit: bool, seed: int
) -> Checkpoint:
    shape = DEFAULT_CONFIG if config is None else AlbertConfig.read(config)
    task, texts = lesson.task, _texts(lesson.examples)
    fresh = init_from_scratch(shape, texts, lesson.labels, task=task, seed=seed)
    return _with_head(fresh, lesson, early_exit=early_exit, seed=seed)


def _texts(examples: Examples) -> list[str]:
    """Return the texts that a vocabulary is trained on; a context once, whatever is asked of it."""
    found = [
        part if isinstance(part, str) else " ".join(part)
        for inputs in examples.inputs
        for part in inputs.values()
        if not isinstance(part, int)
    ]
    return list(dict.fromkeys(found)) if examples.kind == "question-answering" else found


def _check_head(before: Checkpoint, lesson: TaskObjective, source: str, *, init_head: bool) -> None:
    same = before.task == lesson.task and (not lesson.labels or _fits(before.config, lesson))
    if same or init_head:
        return
    verb = {"regression": "predicts", "multi-label": "marks"}
    what = {
        "classification": f"{verb.get(lesson.kind or '', 'classifies into')}",
        "token-classification": "labels words with",
    }.get(lesson.task)
    named = f"that {what} {', '.join(lesson.labels)}" if what else f"for {lesson.task}"
    raise TrainingError(
        f"{source} has no head {named}; it is for {before.task} "
        f"({', '.join(before.config.labels)}). --init-head (init_head=True) keeps its encoder and "
        "starts with a random head."
    )


def _fits(config: AlbertConfig, lesson: TaskObjective) -> bool:
    return config.labels == lesson.labels and lesson.kind in (None, config.kind)


def _with_head(
    before: Checkpoint, lesson: TaskObjective, *, early_exit: bool, seed: int
) -> Checkpoint:
    changes: dict[str, Any] = {}
    if not _fits(before.config, lesson):
        single = lesson.kind in (None, "classification")
        changes["problem_type"] = None if single else PROBLEM_TYPES[str(lesson.kind)]
    if not (before.task == lesson.task and _fits(before.config, lesson)):
        changes["early_exit"] = False  # its exits say what the old head said
    if early_exit:
        if lesson.task != "classification":
            raise TrainingError(f"early exits are for classification, not {lesson.task}.")
        changes["early_exit"] = True
    return with_new_head(before, lesson.labels, seed=seed, task=lesson.task, changes=changes)
