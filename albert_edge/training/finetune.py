"""Fine-tune an ALBERT for the classification of single texts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from albert_edge.checkpoints import Checkpoint
from albert_edge.errors import MissingExtraError, TrainingError
from albert_edge.training.batches import LENGTHS
from albert_edge.training.data import LabelledTexts
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.snapshot import Saving, Snapshot

try:
    from albert_edge.training.answers import Answering
    from albert_edge.training.constraint import Constrain, Free
    from albert_edge.training.run import Run
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
        accuracy: The training accuracy, with dropout, in [0, 1].
        dev_accuracy: The averaged weights' accuracy on the dev texts, in [0, 1]; None without them.
        duration_s: How long it took.
    """

    epoch: int
    checkpoint: Checkpoint
    loss: float
    accuracy: float
    dev_accuracy: float | None
    duration_s: float


def finetune(
    start: Checkpoint,
    data: LabelledTexts,
    *,
    dev: LabelledTexts | None = None,
    options: FinetuneOptions | None = None,
    constrain: Constrain = Free,
    saving: Saving | None = None,
    saved: Snapshot | None = None,
    progress: Callable[[float, float, float], None] = lambda done, loss, accuracy: None,
) -> Iterator[EpochResult]:
    """Train `start` on `data`, and hand over the model after every epoch.

    Nothing is chosen by the dev texts: the last epoch's model is the result, and the learning rate
    is planned for it.  The classes weigh the same however many examples they have.

    Args:
        start: A classification checkpoint with the labels of `data`, and its tokenizer.
        data: The training texts.
        dev: Texts to measure the accuracy on after every epoch.
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
        TrainingError: A class has no example, the labels differ, or the loss diverged.

    Example:
        >>> *_, last = finetune(start, data, options=FinetuneOptions(epochs=2))  # doctest: +SKIP
    """
    options = options or FinetuneOptions()
    check_lesson(start, data, dev, options)
    run = Run(start, data, options=options, constrain=constrain, saving=saving, saved=saved)
    answering = Answering(start) if dev else None
    for epoch in range(saved.epoch if saved else 0, options.epochs):
        began = time.monotonic()
        loss, accuracy = run.train(epoch, progress)
        tensors = run.tensors()
        if answering:
            answering.use(tensors)
        yield EpochResult(
            epoch=epoch + 1,
            checkpoint=dataclasses.replace(start, tensors=tensors, ranges=run.ranges(), sha256=""),
            loss=loss,
            accuracy=accuracy,
            dev_accuracy=answering.accuracy(dev) if answering and dev else None,
            duration_s=time.monotonic() - began,
        )


def check_lesson(
    start: Checkpoint, data: LabelledTexts, dev: LabelledTexts | None, options: FinetuneOptions
) -> None:
    """Check that `start` can be trained on `data`.

    Raises:
        TrainingError: It cannot; the message says why.
    """
    if start.config.problem_type not in (None, "single_label_classification"):
        raise TrainingError(
            f"the checkpoint is for {start.config.problem_type}; this trains one label for each "
            "text."
        )
    if start.task != "classification" or start.config.labels != data.labels:
        raise TrainingError(
            f"the checkpoint is for {start.task} with labels {', '.join(start.config.labels)}; "
            f"expected classification with labels {', '.join(data.labels)}."
        )
    if dev is not None and dev.labels != data.labels:
        raise TrainingError(
            f"the dev texts have labels {', '.join(dev.labels)}; expected {', '.join(data.labels)}."
        )
    if missing := [name for at, name in enumerate(data.labels) if at not in data.classes]:
        raise TrainingError(f"no example has label {', '.join(missing)}; every class needs some.")
    most = min(start.config.max_position_embeddings, LENGTHS[-1])
    if options.max_length > most:
        raise TrainingError(f"max_length must be at most {most}, not {options.max_length}.")
