"""Fine-tune an ALBERT for any task that it can be taught."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from albert_edge.checkpoints import Checkpoint
from albert_edge.config import PROBLEMS
from albert_edge.errors import MissingExtraError, TrainingError
from albert_edge.evaluation.examples import Examples
from albert_edge.evaluation.metrics import Metric
from albert_edge.training.batches import LENGTHS
from albert_edge.training.data import LabelledTexts
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.snapshot import Saving, Snapshot

try:
    from albert_edge.training.constraint import Constrain, Free
    from albert_edge.training.exam import Exam
    from albert_edge.training.lesson import Lesson
    from albert_edge.training.run import Run
    from albert_edge.training.tasks.classification import examples_of, lesson_of
except ModuleNotFoundError as error:
    if error.name not in ("tensorflow", "tf_keras"):
        raise
    raise MissingExtraError(error.name, "train") from error

__all__ = ["EpochResult", "check_lesson", "finetune"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpochResult:
    """What one epoch came to.

    Attributes:
        epoch: Its number, from 1.
        checkpoint: The averaged weights after it.
        loss: The mean training loss, with dropout.
        accuracy: The share of right answers in training, with dropout, in [0, 1]; NaN where numbers
            are learned.
        metrics: Those of the averaged weights on the dev set, the official one first; none without.
        dev: Their values by name, NaN where undefined.
        truncated: How many training examples were longer than they may be, and so cut.
        duration_s: How long it took.
    """

    epoch: int
    checkpoint: Checkpoint
    loss: float
    accuracy: float
    metrics: Sequence[Metric]
    dev: Mapping[str, float]
    truncated: int
    duration_s: float

    @property
    def dev_accuracy(self) -> float | None:
        """The share of right answers on the dev set, in [0, 1], where that is measured."""
        return self.dev.get("accuracy")


def finetune(
    start: Checkpoint,
    data: Lesson | LabelledTexts,
    *,
    dev: Examples | LabelledTexts | None = None,
    options: FinetuneOptions | None = None,
    constrain: Constrain = Free,
    saving: Saving | None = None,
    saved: Snapshot | None = None,
    progress: Callable[[float, float, float], None] = lambda done, loss, accuracy: None,
) -> Iterator[EpochResult]:
    """Train `start` on `data`, and hand over the model after every epoch.

    The learning rate is planned for the last epoch's model; who takes another one by the dev set
    chooses among what comes out here.

    Args:
        start: A checkpoint with the head and the labels of `data`, and its tokenizer.
        data: What is to be learned; labelled texts are a lesson in classification.
        dev: What to ask the model after every epoch, as `albert_edge.evaluation` does.
        options: How to train.
        constrain: What the weights have to keep to.
        saving: Where to save the training now and then.
        saved: What was saved of this training, to go on from there.  The dropouts of the rest are
            others than they would have been.
        progress: Called after every step with the share of the run that is done, in [0, 1), and
            the step's loss and accuracy.

    Yields:
        The epochs, in order; of a resumed training those that were not done yet.

    Raises:
        TrainingError: There is nothing to learn, it does not fit the checkpoint or the options, or
            the loss diverged.
        InputError: A dev example cannot be given to the model.

    Example:
        >>> *_, last = finetune(start, data, options=FinetuneOptions(epochs=2))  # doctest: +SKIP
    """
    options = options or FinetuneOptions()
    check_lesson(start, data, dev, options)
    lesson = _lesson(data)
    # Before the training: it finds what is wrong with the dev set.
    exam = Exam(start, examples_of(dev) if isinstance(dev, LabelledTexts) else dev) if dev else None
    run = Run(start, lesson, options=options, constrain=constrain, saving=saving, saved=saved)
    for epoch in range(saved.epoch if saved else 0, options.epochs):
        began, truncated = time.monotonic(), run.truncated
        loss, accuracy = run.train(epoch, progress)
        tensors = run.tensors()
        metrics = exam.metrics(tensors) if exam else []
        yield EpochResult(
            epoch=epoch + 1,
            checkpoint=dataclasses.replace(start, tensors=tensors, ranges=run.ranges(), sha256=""),
            loss=loss,
            accuracy=accuracy,
            metrics=metrics,
            dev={one.name: one.statistic(np.ones(len(exam))) for one in metrics} if exam else {},
            truncated=truncated,
            duration_s=time.monotonic() - began,
        )


def _lesson(data: Lesson | LabelledTexts) -> Lesson:
    return lesson_of(data) if isinstance(data, LabelledTexts) else data


def check_lesson(
    start: Checkpoint,
    data: Lesson | LabelledTexts,
    dev: Examples | LabelledTexts | None,
    options: FinetuneOptions,
) -> None:
    """Check that `start` can be trained on `data`.

    Raises:
        TrainingError: It cannot; the message says why.
    """
    lesson, config = _lesson(data), start.config
    if start.task == lesson.task == "classification" and config.problem != lesson.problem:
        what = "one label for each text" if lesson.problem == PROBLEMS[0] else str(lesson.problem)
        raise TrainingError(f"the checkpoint is for {config.problem}; this trains {what}.")
    if start.task != lesson.task or (lesson.labels and config.labels != lesson.labels):
        raise TrainingError(
            f"the checkpoint is for {start.task} with labels {', '.join(config.labels)}; "
            f"expected {lesson.task} with labels {', '.join(lesson.labels) or 'of any name'}."
        )
    if dev is not None and dev.labels != lesson.labels:
        raise TrainingError(
            f"the dev texts have labels {', '.join(dev.labels)}; "
            f"expected {', '.join(lesson.labels)}."
        )
    lesson.check(options)
    most = min(config.max_position_embeddings, LENGTHS[-1])
    windowed = lesson.task in ("question-answering", "summarization")
    if options.max_length > most and not windowed:
        raise TrainingError(f"max_length must be at most {most}, not {options.max_length}.")
