"""Fine-tune an ALBERT for any task that it can be taught."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.examples import Examples
from albert_edge.errors import TrainingError, requires_extra
from albert_edge.evaluation.metrics import Metric
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batching import BUCKETS, Batch, make_batches, pad_rows
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.state import SaveConfig, TrainingState, write_state

__all__ = ["EpochResult", "FinetuneRun", "check_objective", "finetune"]

with requires_extra("train"):
    import tf_keras

    from albert_edge.training.dev_metrics import DevEvaluator
    from albert_edge.training.objective import IGNORE_INDEX, TaskObjective
    from albert_edge.training.trainer import MakeConstraint, Trainer, Unconstrained

_WARM_UP = 0.1  # the share of the run in which the learning rate rises


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
    objective: TaskObjective,
    *,
    dev: Examples | None = None,
    options: FinetuneOptions | None = None,
    constrain: MakeConstraint = Unconstrained,
    saving: SaveConfig | None = None,
    saved: TrainingState | None = None,
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
    check_objective(start, objective, dev, options)
    # Before the training: it finds what is wrong with the dev set.
    evaluator = DevEvaluator(start, dev) if dev else None
    run = FinetuneRun(
        start, objective, options=options, constrain=constrain, saving=saving, saved=saved
    )
    for epoch in range(saved.epoch if saved else 0, options.epochs):
        began, truncated = time.monotonic(), run.truncated
        loss, accuracy = run.train(epoch, progress)
        tensors = run.tensors()
        metrics = evaluator.metrics(tensors) if evaluator else []
        yield EpochResult(
            epoch=epoch + 1,
            checkpoint=dataclasses.replace(start, tensors=tensors, ranges=run.ranges(), sha256=""),
            loss=loss,
            accuracy=accuracy,
            metrics=metrics,
            dev={one.name: one.statistic(np.ones(len(evaluator))) for one in metrics}
            if evaluator
            else {},
            truncated=truncated,
            duration_s=time.monotonic() - began,
        )


def check_objective(
    start: Checkpoint,
    objective: TaskObjective,
    dev: Examples | None,
    options: FinetuneOptions,
) -> None:
    """Check that `start` can be trained on `data`.

    Raises:
        TrainingError: It cannot; the message says why.
    """
    config = start.config
    if start.task == objective.task == "classification" and config.kind != objective.kind:
        single = objective.kind == "classification"
        what = "one label for each text" if single else str(objective.kind)
        raise TrainingError(f"the checkpoint is for {config.kind}; this trains {what}.")
    if start.task != objective.task or (objective.labels and config.labels != objective.labels):
        raise TrainingError(
            f"the checkpoint is for {start.task} with labels {', '.join(config.labels)}; "
            f"expected {objective.task} with labels {', '.join(objective.labels) or 'of any name'}."
        )
    if dev is not None and dev.labels != objective.labels:
        raise TrainingError(
            f"the dev texts have labels {', '.join(dev.labels)}; "
            f"expected {', '.join(objective.labels)}."
        )
    objective.check(options)
    most = min(config.max_position_embeddings, BUCKETS[-1])
    windowed = objective.task in ("question-answering", "summarization")
    if options.max_length > most and not windowed:
        raise TrainingError(f"max_length must be at most {most}, not {options.max_length}.")


# A training under way: the model, and the batches that it still has to see.


class FinetuneRun:
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
        objective: TaskObjective,
        *,
        options: FinetuneOptions,
        constrain: MakeConstraint,
        saving: SaveConfig | None = None,
        saved: TrainingState | None = None,
    ) -> None:
        positions = start.config.max_position_embeddings
        options = dataclasses.replace(options, window=min(options.window, positions))
        self._objective, self._options = objective, options
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
            objective,
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
        self._drawn = self._objective.draw(tokenizer, options, self._random)
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
        loss, accuracy = self._trainer.step(
            batch, pad_rows(targets, length, IGNORE_INDEX), rate=rate
        )
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at a learning rate of {rate:.2g}; give a lower one."
            )
        return loss, accuracy

    def _save(self, epoch: int, index: int, sums: np.ndarray) -> None:
        if not self._saving or time.monotonic() - self._written < self._saving.every_s:
            return
        snapshot = TrainingState(
            epoch=epoch,
            index=index,
            steps=self._steps,
            random=self._state,
            sums=sums.tolist(),
            arrays=self._trainer.snapshot(),
            history=list(self._saving.history),
        )
        write_state(self._saving.path, snapshot, of=self._saving.of)
        self._written = time.monotonic()


def _rate(done: float, options: FinetuneOptions) -> float:
    """Return the learning rate when `done`, in [0, 1), of the run is done: a triangle."""
    return options.learning_rate * min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP))
