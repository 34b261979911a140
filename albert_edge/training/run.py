"""A training under way: the model, and the batches that it still has to see."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import tf_keras

from albert_edge.checkpoints import Checkpoint
from albert_edge.errors import TrainingError
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batches import Batch, make_batches, pad_rows
from albert_edge.training.constraint import Constrain
from albert_edge.training.lesson import IGNORED, Lesson
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.snapshot import Saving, Snapshot, write_snapshot
from albert_edge.training.trainer import Trainer

__all__ = ["Run"]

_WARM_UP = 0.1  # the share of the run in which the learning rate rises


class Run:
    """One training, from its first step or from where it was saved.

    Args:
        start: What to train.
        lesson: What it is to learn.
        options: How.
        constrain: What the weights have to keep to.
        saving: Where to save it now and then.
        saved: Where to go on from.
    """

    def __init__(
        self,
        start: Checkpoint,
        lesson: Lesson,
        *,
        options: FinetuneOptions,
        constrain: Constrain,
        saving: Saving | None = None,
        saved: Snapshot | None = None,
    ) -> None:
        positions = start.config.max_position_embeddings
        options = dataclasses.replace(options, window=min(options.window, positions))
        self._lesson, self._options = lesson, options
        self._saving, self._saved = saving, saved
        self._written = time.monotonic()
        self._tokenizer = tokenizer_from_files(start.tokenizer_files)
        self._random = np.random.default_rng(options.seed)
        if saved:
            self._random.bit_generator.state = saved.random
        # Drawn before there is a trainer, who wants to know how many steps there will be.
        self._draw()
        self._steps = saved.steps if saved else len(self._batches) * options.epochs
        # Another seed for the rest than for the beginning: its dropouts are not to be the same.
        tf_keras.utils.set_random_seed(options.seed + (saved.done if saved else 0))
        self._trainer = Trainer(
            start,
            lesson,
            options=options,
            steps=self._steps,
            constrain=constrain,
        )
        if saved:
            self._trainer.restore(saved.arrays)

    def train(
        self, epoch: int, progress: Callable[[float, float, float], None]
    ) -> tuple[float, float]:
        """Train for epoch number `epoch`, from 0, or its rest; return its mean loss and accuracy.

        Raises:
            TrainingError: The loss diverged.
        """
        saved, self._saved = self._saved, None
        sums = np.array(saved.sums if saved else (0.0, 0.0, 0.0))
        batches = self._batches
        for index in range(saved.index if saved else 0, len(batches)):
            batch = batches[index]
            done = (epoch + index / len(batches)) / self._options.epochs
            loss, accuracy = self._step(batch, done)
            sums += np.array([loss, accuracy, 1.0]) * len(batch.rows)
            self._save(epoch, index + 1, sums)
            progress(done, loss, accuracy)
        if epoch + 1 < self._options.epochs:
            self._draw()
        return float(sums[0] / sums[2]), float(sums[1] / sums[2])

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the averaged weights by canonical name."""
        return self._trainer.tensors()

    def ranges(self) -> dict[str, np.ndarray]:
        """Return the ranges of the checkpoint's 8-bit values, if any were trained."""
        return self._trainer.ranges()

    @property
    def truncated(self) -> int:
        """How many examples of the epoch were longer than they may be, and so cut."""
        return self._drawn.truncated

    def _draw(self) -> None:
        self._state = self._random.bit_generator.state
        tokenizer, options = self._tokenizer, self._options
        self._drawn = self._lesson.draw(tokenizer, options, self._random)
        self._batches = make_batches(
            self._drawn.input_ids,
            tokens=options.batch_tokens,
            pad_id=tokenizer.pad_id,
            types=self._drawn.token_type_ids,
            random=self._random,
        )

    def _step(self, batch: Batch, done: float) -> tuple[float, float]:
        targets = [self._drawn.targets[row] for row in batch.rows]
        length = batch.input_ids.shape[1] if self._drawn.per_token else len(targets[0])
        rate = _rate(done, self._options)
        loss, accuracy = self._trainer.step(batch, pad_rows(targets, length, IGNORED), rate=rate)
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at a learning rate of {rate:.2g}; give a lower one."
            )
        return loss, accuracy

    def _save(self, epoch: int, index: int, sums: np.ndarray) -> None:
        if not self._saving or time.monotonic() - self._written < self._saving.every_s:
            return
        snapshot = Snapshot(
            epoch=epoch,
            index=index,
            steps=self._steps,
            random=self._state,
            sums=sums.tolist(),
            arrays=self._trainer.snapshot(),
            history=list(self._saving.history),
        )
        write_snapshot(self._saving.path, snapshot, of=self._saving.of)
        self._written = time.monotonic()


def _rate(done: float, options: FinetuneOptions) -> float:
    """Return the learning rate when `done`, in [0, 1), of the run is done: a triangle."""
    return options.learning_rate * min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP))
