"""Fine-tune an ALBERT for any task that has an objective."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.examples import Examples
from albert_edge.errors import TrainingError, list_choices, requires_extra
from albert_edge.evaluation.intervals import wilson
from albert_edge.evaluation.metrics import Metric
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batching import BUCKETS, Batch, make_batches, pad_rows
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.state import StateWriter, TrainingState

__all__ = ["EpochResult", "StepCallback", "check_objective", "find_warnings", "finetune"]

with requires_extra("train"):
    import tf_keras

    from albert_edge.training.dev_metrics import DevEvaluator
    from albert_edge.training.objective import IGNORE_INDEX, TaskObjective
    from albert_edge.training.teacher import Teacher
    from albert_edge.training.trainer import MakeConstraint, Trainer, Unconstrained

# The figures of a finished epoch that a resumed training reads.
_FIGURES = {"epoch", "truncated", "dev", "dev_accuracy", "dev_interval", "dev_score"}
# Called after every step with the finished share of the training, in [0, 1), and the step's loss
# and accuracy.
StepCallback = Callable[[float, float, float], None]
_WARM_UP = 0.1  # the share of the training in which the learning rate rises
# The loss has risen if it is so many times that of guessing, or of an earlier epoch.
_ABOVE_GUESSING, _ABOVE_EARLIER = 1.1, 1.5
_BELOW_GUESSING = 0.95  # and has fallen if it is less than this share of the loss of guessing
_SAMPLE = 64  # training examples that are predicted where there is no dev set


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpochResult:
    """The result of one epoch.

    Attributes:
        epoch: Its number, from 1.
        checkpoint: The averaged weights after it.
        loss: The mean training loss, with dropout.
        accuracy: The training accuracy, with dropout, in [0, 1]; NaN for regression.
        metrics: The metrics of the averaged weights on the dev set, the official one first; none
            without a dev set.
        dev: Their values by name, NaN where undefined.
        predictions: The predictions of the dev examples, in the form of their targets.
        truncated: The number of training examples that were cut, for being too long.
        duration_s: The duration, evaluation included.
    """

    epoch: int
    checkpoint: Checkpoint
    loss: float
    accuracy: float
    metrics: Sequence[Metric]
    dev: Mapping[str, float]
    predictions: Sequence[Any]
    truncated: int
    duration_s: float

    @property
    def dev_accuracy(self) -> float | None:
        """The accuracy on the dev set, in [0, 1], where the task has one."""
        return self.dev.get("accuracy")

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, ready for JSON; undefined ones are None."""
        dev = {name: _rounded(value) for name, value in self.dev.items()}
        return {
            "epoch": self.epoch,
            "loss": round(self.loss, 4),
            "accuracy": _rounded(self.accuracy),
            "dev_accuracy": dev.get("accuracy"),
            "dev_interval": self._dev_interval(),
            "dev_score": next(iter(dev.values()), None),
            "dev": dev,
            "truncated": self.truncated,
            "duration_s": round(self.duration_s, 1),
        }

    def _dev_interval(self) -> list[float] | None:
        """Return the 95% interval of the accuracy, if it is a share of the examples, not words."""
        correct = next((one.correct for one in self.metrics if one.name == "accuracy"), None)
        if correct is None:
            return None
        return [round(bound, 4) for bound in wilson(int(correct.sum()), len(correct))]


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def finetune(
    start: Checkpoint,
    objective: TaskObjective,
    *,
    dev: Examples | None = None,
    options: FinetuneOptions | None = None,
    constrain: MakeConstraint = Unconstrained,
    teacher: Teacher | None = None,
    writer: StateWriter | None = None,
    saved: TrainingState | None = None,
    progress: StepCallback = lambda done, loss, accuracy: None,
) -> Iterator[EpochResult]:
    """Train `start` on an objective, and yield the model after every epoch.

    The learning rate is planned for the last epoch's model.  To select by dev score instead, pick
    from the yielded epochs.

    Args:
        start: A checkpoint with the head and the labels of the objective, and its tokenizer.
        objective: The examples and the loss.
        dev: The examples to evaluate the model on after every epoch.
        options: The options of the training.
        constrain: The constraint on the weights.
        teacher: The model to learn from beside the objective's targets, if any.
        writer: The writer of the state, if it is to be saved.
        saved: The state to resume from.  The result is that of an uninterrupted training, bit for
            bit on the same machine.
        progress: Called after every step.

    Yields:
        The epochs, in order; of a resumed training those that were not finished.

    Raises:
        TrainingError: The examples cannot be trained on, do not fit the checkpoint or the options,
            or the loss diverged.
        InputError: A dev example is not a valid input of the model.

    Example:
        >>> objective = ClassificationObjective(examples)  # doctest: +SKIP
        >>> options = FinetuneOptions(epochs=2)  # doctest: +SKIP
        >>> *_, last = finetune(start, objective, options=options)  # doctest: +SKIP
    """
    options = options or FinetuneOptions()
    check_objective(start, objective, dev, options)
    evaluator = DevEvaluator(start, dev) if dev else None  # before the training: it checks `dev`
    run = _Run(
        start,
        objective,
        options=options,
        constrain=constrain,
        teacher=teacher,
        writer=writer,
        saved=saved,
    )
    for epoch in range(saved.epoch if saved else 0, options.epochs):
        began, truncated = time.monotonic(), run.truncated
        loss, accuracy = run.train_epoch(epoch, progress)
        tensors, ranges = run.trainer.tensors(), run.trainer.ranges()
        metrics = evaluator.metrics(tensors) if evaluator else []
        yield EpochResult(
            epoch=epoch + 1,
            checkpoint=dataclasses.replace(start, tensors=tensors, ranges=ranges, sha256=""),
            loss=loss,
            accuracy=accuracy,
            metrics=metrics,
            dev={one.name: one.statistic(np.ones(len(evaluator or ()))) for one in metrics},
            predictions=evaluator.predictions if evaluator else [],
            truncated=truncated,
            duration_s=time.monotonic() - began,
        )


def find_warnings(
    epochs: Sequence[Mapping[str, Any]],
    kept: EpochResult | None,
    *,
    data: Examples,
    dev: Examples | None,
    options: FinetuneOptions,
    scale: float = 1.0,
) -> list[str]:
    """Return what is wrong with a training: its loss rose, or its model predicts one thing for all.

    Args:
        epochs: The figures of all epochs.
        kept: The epoch whose model is kept; None if it was before the training was resumed.
        data: The training examples.  A few are predicted where the loss did not fall and there is
            no dev set.
        dev: The dev examples.
        options: The options of the training.
        scale: The number by which the loss can exceed that of the labels alone, as a teacher's is
            multiplied by the square of the temperature.

    Returns:
        Statements, the last of which says what to do; none if nothing is wrong.
    """
    guessing = scale * _guessing_loss(data, options)
    losses = [epoch["loss"] for epoch in epochs]
    rose = [one for one in losses if losses[-1] > _ABOVE_EARLIER * one]
    tested, predictions = dev, kept.predictions if kept else ()
    if kept and dev is None and losses[-1] > _BELOW_GUESSING * guessing:
        order = np.random.default_rng(options.seed).permutation(len(data))
        tested = data.take(order[:_SAMPLE].tolist())
        evaluator = DevEvaluator(kept.checkpoint, tested)
        evaluator.metrics(kept.checkpoint.tensors)
        predictions = evaluator.predictions
    found = []
    if losses[-1] > _ABOVE_GUESSING * guessing:
        found.append(
            f"the training diverged: its loss is {losses[-1]:.3g} at the end; that of guessing is "
            f"{guessing:.3g}."
        )
    elif rose:
        found.append(f"the training diverged: its loss rose from {min(rose)} to {losses[-1]}.")
    if tested and _differ(tested.kind, tested.targets) and not _differ(tested.kind, predictions):
        found.append(
            f"nothing was learned: the model predicts the same for all of {len(predictions)} "
            f"{'training' if dev is None else 'dev'} examples."
        )
    if found:
        how = "a lower learning rate" if "diverged" in found[0] else "another learning rate"
        found.append(f"train again with {how}; it was {options.learning_rate:g}.")
    return found


def _guessing_loss(data: Examples, options: FinetuneOptions) -> float:
    """Return the loss of a model that considers all answers equal, or predicts the mean number.

    With random weights, a model starts there.
    """
    if data.kind == "regression":
        return float(np.var(np.array(data.targets, np.float64), axis=0).mean())
    if data.kind == "question-answering":
        return math.log(options.window)  # of a position; fewer tokens than this are in a window
    single = data.kind in ("classification", "token-classification")
    return math.log(len(data.labels)) if single else math.log(2)


def _differ(kind: str, values: Sequence[Any]) -> bool:
    """Return whether targets or predictions are not all the same; true of texts and of none."""
    if kind in ("question-answering", "summarization") or not values:
        return True
    each = chain.from_iterable(values) if kind == "token-classification" else values
    return len(set(map(str, each))) > 1


def check_objective(
    start: Checkpoint, objective: TaskObjective, dev: Examples | None, options: FinetuneOptions
) -> None:
    """Check that `start` can be trained on an objective.

    Raises:
        TrainingError: It cannot; the message gives the reason.
    """
    config = start.config
    if start.task == objective.task == "classification" and config.kind != objective.kind:
        single = objective.kind == "classification"
        what = "one label for each text" if single else str(objective.kind)
        raise TrainingError(f"the checkpoint is for {config.kind}; this trains {what}.")
    if start.task != objective.task or (objective.labels and config.labels != objective.labels):
        raise TrainingError(
            f"the checkpoint is for {start.task} with labels {list_choices(config.labels)}; "
            f"expected {objective.task} with labels "
            f"{list_choices(objective.labels) or 'of any name'}."
        )
    if dev is not None and dev.labels != objective.labels:
        raise TrainingError(
            f"the dev texts have labels {list_choices(dev.labels)}; "
            f"expected {list_choices(objective.labels)}."
        )
    objective.check(options)
    most = min(config.max_position_embeddings, BUCKETS[-1])
    windowed = objective.task in ("question-answering", "summarization")
    if options.max_length > most and not windowed:
        raise TrainingError(f"max_length must be at most {most}, not {options.max_length}.")


class _Run:
    """A training from its first step, or from a saved state: the model and the epoch's batches.

    Attributes:
        trainer: The model in training.

    Args: as in `finetune`.
    """

    def __init__(
        self,
        start: Checkpoint,
        objective: TaskObjective,
        *,
        options: FinetuneOptions,
        constrain: MakeConstraint,
        teacher: Teacher | None,
        writer: StateWriter | None,
        saved: TrainingState | None,
    ) -> None:
        positions = start.config.max_position_embeddings
        options = dataclasses.replace(options, window=min(options.window, positions))
        self._objective, self._options = objective, options
        self._writer, self._saved = writer, saved
        self._tokenizer = tokenizer_from_files(start.tokenizer_files)
        self._random = np.random.default_rng(options.seed)
        if saved:
            _restore_generator(self._random, saved)
        # Before the trainer is made, which needs the number of steps.
        self._encode_epoch()
        self._steps = saved.steps if saved else len(self._batches) * options.epochs
        if saved and not (
            saved.epoch < options.epochs
            and 0 < saved.index <= len(self._batches)
            and len(saved.history) in (0, saved.epoch)  # compression does not keep it
            and all(entry.keys() >= _FIGURES for entry in saved.history)
            and len(saved.sums) == 3
            and saved.sums[2] > 0
        ):
            raise _damaged_state("its numbers do not fit the data and the options")
        tf_keras.utils.set_random_seed(options.seed)
        self.trainer = Trainer(
            start,
            objective,
            options=options,
            steps=self._steps,
            constrain=constrain,
            teacher=teacher,
        )
        if saved:
            self.trainer.set_state(saved.arrays)

    def train_epoch(self, epoch: int, progress: StepCallback) -> tuple[float, float]:
        """Train for epoch number `epoch`, from 0, or for its rest.

        Returns:
            The mean loss and accuracy of the epoch.

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
            self._encode_epoch()
        return float(sums[0] / sums[2]), float(sums[1] / sums[2])

    @property
    def truncated(self) -> int:
        """The number of the epoch's examples that were cut, for being too long."""
        return self._encoded.truncated

    def _encode_epoch(self) -> None:
        self._random_state = self._random.bit_generator.state
        tokenizer, options = self._tokenizer, self._options
        self._encoded = self._objective.encode_epoch(tokenizer, options, self._random)
        self._batches = make_batches(
            self._encoded.input_ids,
            tokens=options.batch_tokens,
            pad_id=tokenizer.pad_id,
            types=self._encoded.token_type_ids,
            random=self._random,
        )

    def _step(self, batch: Batch, done: float) -> tuple[float, float]:
        targets = [self._encoded.targets[row] for row in batch.rows]
        length = batch.input_ids.shape[1] if self._encoded.per_token else len(targets[0])
        rate = _learning_rate(done, self._options)
        loss, accuracy = self.trainer.step(
            batch, pad_rows(targets, length, IGNORE_INDEX), learning_rate=rate
        )
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at a learning rate of {rate:.2g}; give a lower one."
            )
        return loss, accuracy

    def _save(self, epoch: int, index: int, sums: np.ndarray) -> None:
        if self._writer and self._writer.is_due():
            self._writer.write(
                TrainingState(
                    epoch=epoch,
                    index=index,
                    steps=self._steps,
                    random=self._random_state,
                    sums=sums.tolist(),
                    arrays=self.trainer.get_state(),
                )
            )


def _restore_generator(generator: np.random.Generator, saved: TrainingState) -> None:
    try:
        generator.bit_generator.state = saved.random
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise _damaged_state(error) from error


def _damaged_state(reason: object) -> TrainingError:
    return TrainingError(f"the saved state is damaged: {reason}; restart with --force.")


def _learning_rate(done: float, options: FinetuneOptions) -> float:
    """Return the rate when a share of the training, in [0, 1), is done: a rise, then a fall."""
    return options.learning_rate * min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP))
