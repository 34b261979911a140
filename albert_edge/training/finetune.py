"""Fine-tune an ALBERT for the classification of single texts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from albert_edge.checkpoints import Checkpoint
from albert_edge.errors import MissingExtraError, TrainingError
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.training.batches import (
    LENGTHS,
    Batch,
    encode_texts,
    hide_words,
    join_texts,
    make_batches,
    sample_texts,
)
from albert_edge.training.data import LabelledTexts
from albert_edge.training.options import FinetuneOptions

try:
    import tf_keras

    from albert_edge.training.trainer import Trainer
except ModuleNotFoundError as error:
    if error.name not in ("tensorflow", "tf_keras"):
        raise
    raise MissingExtraError(error.name, "train") from error

__all__ = ["EpochResult", "finetune"]


_WARM_UP = 0.1  # the share of the run in which the learning rate rises


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
        progress: Called after every step with the share of the run that is done, in [0, 1), and
            the step's loss and accuracy.

    Yields:
        The epochs, in order.

    Raises:
        TrainingError: A class has no example, the labels differ, or the loss diverged.

    Example:
        >>> *_, last = finetune(start, data, options=FinetuneOptions(epochs=2))  # doctest: +SKIP
    """
    options = options or FinetuneOptions()
    _check(start, data, dev, options)
    most = start.config.max_position_embeddings
    tokenizer = tokenizer_from_files(start.tokenizer_files)
    random = np.random.default_rng(options.seed)
    tf_keras.utils.set_random_seed(options.seed)
    trainer = Trainer(start, options=options, class_weights=_balance(data))
    for epoch in range(options.epochs):
        began = time.monotonic()
        batches, targets = _draw_epoch(data, tokenizer, options, random)
        sums = np.zeros(3)
        for index, batch in enumerate(batches):
            done = (epoch + index / len(batches)) / options.epochs
            loss, accuracy = _step(trainer, batch, targets, rate=_rate(done, options))
            sums += np.array([loss, accuracy, 1.0]) * len(batch.rows)
            progress(done, loss, accuracy)
        yield EpochResult(
            epoch=epoch + 1,
            checkpoint=dataclasses.replace(start, tensors=trainer.tensors(), sha256=""),
            loss=float(sums[0] / sums[2]),
            accuracy=float(sums[1] / sums[2]),
            dev_accuracy=_measure(trainer, dev, tokenizer, most) if dev else None,
            duration_s=time.monotonic() - began,
        )


def _step(
    trainer: Trainer, batch: Batch, targets: np.ndarray, *, rate: float
) -> tuple[float, float]:
    loss, accuracy = trainer.step(batch, targets[batch.rows], rate=rate)
    if not np.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss} at a learning rate of {rate:.2g}; give a lower one."
        )
    return loss, accuracy


def _check(
    start: Checkpoint, data: LabelledTexts, dev: LabelledTexts | None, options: FinetuneOptions
) -> None:
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


def _balance(data: LabelledTexts) -> np.ndarray:
    """Return float64 [num_labels]: the weight that makes every class count the same in all."""
    counts = np.bincount(data.classes, minlength=len(data.labels))
    return len(data) / (len(data.labels) * counts)


def _rate(done: float, options: FinetuneOptions) -> float:
    """Return the learning rate when `done`, in [0, 1), of the run is done: a triangle."""
    return options.learning_rate * min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP))


def _draw_epoch(
    data: LabelledTexts,
    tokenizer: Tokenizer,
    options: FinetuneOptions,
    random: np.random.Generator,
) -> tuple[list[Batch], np.ndarray]:
    """Return an epoch's batches, and the targets that their rows point to."""
    if options.sampling < 1:
        sequences = sample_texts(
            data.texts,
            tokenizer,
            max_length=options.max_length,
            alpha=options.sampling,
            seed=int(random.integers(1 << 31)),
        )
    else:
        sequences = encode_texts(data.texts, tokenizer, max_length=options.max_length)
    hidden = [
        hide_words(ids, tokenizer, share=options.word_dropout, random=random) for ids in sequences
    ]
    targets = data.targets
    if targets is None:
        targets = np.eye(len(data.labels), dtype=np.float32)[data.classes]
    joined, targets = join_texts(
        hidden,
        targets,
        share=options.joining,
        max_length=options.max_length,
        random=random,
    )
    batches = make_batches(
        joined, tokens=options.batch_tokens, pad_id=tokenizer.pad_id, random=random
    )
    return batches, targets


def _measure(trainer: Trainer, dev: LabelledTexts, tokenizer: Tokenizer, most: int) -> float:
    """Measure the accuracy on texts that are cut where a device cuts them: at `most` tokens."""
    sequences = encode_texts(dev.texts, tokenizer, max_length=min(most, LENGTHS[-1]))
    right = 0
    for batch in make_batches(sequences, tokens=8192, pad_id=tokenizer.pad_id):
        right += int((trainer.logits(batch).argmax(axis=-1) == dev.classes[batch.rows]).sum())
    return right / len(dev)
