"""The pre-training loop, from the first step or from a saved state."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from albert_edge.checkpoints import Checkpoint, check_folder, write_checkpoint
from albert_edge.errors import OutputError, TrainingError
from albert_edge.files import dump_json, read_input, write_file
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.pretraining.corpus import Document
from albert_edge.training.pretraining.distributed import DistributedContext
from albert_edge.training.pretraining.masking import (
    Cursor,
    EpochBatches,
    PretrainBatches,
    as_dataset,
)
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.trainer import PretrainTrainer, StepTrainer
from albert_edge.training.state import (
    StateWriter,
    TrainingState,
    check_state,
    fingerprint,
    open_state,
)

STATE_FILE = "training.npz"  # in the output directory until the training is finished
_DEV_BATCHES = 50  # batches of held-out text, at most
METRICS_FILE, _LOGS = "curve.jsonl", "logs"
# The metadata of `tf.summary.scalar`, which itself needs the package tensorboard.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
)


def join_workers(
    options: PretrainOptions, output: Path, *, resume: bool, force: bool
) -> DistributedContext:
    """Wait for the other workers, and check that nothing in `output` is lost.

    Args:
        options: The options of the training.
        output: The directory to write.
        resume: Whether to resume the training that is saved there.
        force: Whether to replace what is there.

    Raises:
        TrainingError: The options do not fit the workers, or there is nothing to resume.
        OutputError: There is a checkpoint or an interrupted training.
    """
    workers = DistributedContext.from_environment()
    workers.check(options)
    if workers.first:
        check_state(output / STATE_FILE, resume=resume, force=force)
        check_folder(output, more=(METRICS_FILE,), force=force or resume)
    return workers


def pretrain(
    start: Checkpoint,
    documents: Sequence[Document],
    *,
    output: Path,
    held_out: Sequence[Document] = (),
    options: PretrainOptions,
    resume: bool = False,
    workers: DistributedContext | None = None,
    progress: Callable[[int, Mapping[str, float]], None] = lambda step, metrics: None,
) -> MetricsLog:
    """Train `start` on documents, and write it to `output`, at intervals and at the end.

    Args:
        start: A checkpoint with a pre-training head and its tokenizer.
        documents: The training texts, encoded by that tokenizer.
        output: The directory to write.  It gets the checkpoint, `curve.jsonl`, and TensorBoard's
            logs; until the training is finished also `training.npz`, to resume from.
        held_out: The texts to evaluate the model on.
        options: The options of the training.
        resume: Whether to resume the training that is saved in `output`.
        workers: The processes that share every batch; None for this one alone.
        progress: Called after every step with the number of finished steps and the step's metrics.

    Returns:
        The log, with the metrics of every evaluation.

    Raises:
        TrainingError: There is too little text, the loss diverged, or the state to resume from is
            missing, damaged, or of another training.
        OutputError: `output` cannot be written.
    """
    workers = workers or DistributedContext.alone()
    workers.check(options)

    def batches(documents: Sequence[Document], seed: int) -> PretrainBatches:
        tokenizer = tokenizer_from_files(start.tokenizer_files)
        size, length = options.batch_size, options.max_length
        return PretrainBatches(documents, tokenizer, batch_size=size, max_length=length, seed=seed)

    return train_on_batches(
        start,
        lambda: PretrainTrainer(start, options, strategy=workers.strategy),
        batches(documents, options.seed),
        output=output,
        held_out=batches(held_out, options.seed + 1) if held_out else None,
        owner=fingerprint_texts(start, documents, options),
        options=options,
        resume=resume,
        workers=workers,
        progress=progress,
    )


def train_on_batches(
    start: Checkpoint,
    make_trainer: Callable[[], StepTrainer],
    batches: EpochBatches,
    *,
    output: Path,
    held_out: EpochBatches | None,
    owner: str,
    options: PretrainOptions,
    resume: bool,
    workers: DistributedContext,
    progress: Callable[[int, Mapping[str, float]], None],
) -> MetricsLog:
    """Train on batches, and write the trained `start`; arguments and errors as in `pretrain`.

    Args:
        start: The checkpoint whose tensors are replaced by the trained ones.
        make_trainer: Makes the trainer of `start`, once all workers are there.
        batches: The training batches.
        output: The directory to write.
        held_out: The batches to evaluate on, the first of which are taken, always the same.
        owner: The fingerprint of the training.
        options, resume, workers, progress: As in `pretrain`.
    """
    _check_filled(batches, options, "the texts")
    if held_out:
        _check_filled(held_out, options, "the held-out texts")
    dev = [batch for _, batch in islice(_epoch(held_out), _DEV_BATCHES)] if held_out else []
    saved = _open_output(output, owner, resume=resume, first=workers.first)
    writer = _CheckpointWriter(output, start, owner, options, first=workers.first)
    with workers.together():
        trainer = make_trainer()
    if saved:
        trainer.set_state(saved.arrays)
        if len(saved.sums) != trainer.sums_size or not 0 < trainer.done < options.steps:
            raise TrainingError(
                f"{output / STATE_FILE} is damaged: its numbers do not fit the options; restart "
                "with --force."
            )
    first = Cursor(saved.epoch, saved.index) if saved else Cursor()
    zeros = np.zeros(trainer.sums_size)
    sums = np.array(saved.sums) if saved else zeros
    log = MetricsLog(output, after=trainer.done, keep=workers.first)
    for cursor, batch in _stream(batches, first, options.steps - trainer.done):
        rate = options.rate(trainer.done)
        with workers.together():
            found = trainer.step(workers.part(batch), rate=rate)
        step = trainer.done
        _check_finite(found, step)
        sums = sums + found
        progress(step, trainer.metrics(found))
        if step % options.examine_every == 0 or step == options.steps:
            dev_metrics = trainer.evaluate(dev) if dev else {}
            _check_finite(dev_metrics.values(), step)
            log.add(step, train=trainer.metrics(sums), held_out=dev_metrics or None, rate=rate)
            sums = zeros
        writer.write(trainer, cursor, sums)
    writer.finish(trainer)
    return log


def fingerprint_texts(
    start: Checkpoint, documents: Sequence[Document], options: PretrainOptions, *more: object
) -> str:
    """Return the digest of a training on texts; `more` is what else it depends on."""
    words = np.concatenate([sentence for document in documents for sentence in document])
    lengths = [[len(sentence) for sentence in document] for document in documents]
    return fingerprint(start, words, lengths, dataclasses.replace(options, save_every_s=0), *more)


def _open_output(output: Path, owner: str, *, resume: bool, first: bool) -> TrainingState | None:
    """Make the directory, or read the state in it; the first worker removes an old state."""
    if not (resume or first):
        return None
    if not resume:
        try:
            output.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {output}: {error.strerror}.") from error
    return open_state(output / STATE_FILE, owner=owner, resume=resume)


class _CheckpointWriter:
    """Writes the checkpoint and the state of the training; the first worker does, for all."""

    def __init__(
        self, output: Path, start: Checkpoint, owner: str, options: PretrainOptions, *, first: bool
    ) -> None:
        self._output, self._start, self._steps = output, start, options.steps
        self._state = StateWriter(output / STATE_FILE, owner, every_s=options.save_every_s)
        self._first = first

    def write(self, trainer: StepTrainer, cursor: Cursor, sums: np.ndarray) -> None:
        """Write both if the interval is over and the training is not."""
        if not (self._state.is_due() and self._first and trainer.done < self._steps):
            return
        state = TrainingState(
            epoch=cursor.epoch,
            index=cursor.index,
            steps=self._steps,
            random={},
            sums=sums.tolist(),
            arrays=trainer.get_state(),
        )
        # The state last: if this is interrupted, the older state and a whole checkpoint are left.
        self._write_checkpoint(trainer)
        self._state.write(state)

    def finish(self, trainer: StepTrainer) -> None:
        """Write the final checkpoint, and remove the state."""
        if self._first:
            self._write_checkpoint(trainer)
            (self._output / STATE_FILE).unlink(missing_ok=True)

    def _write_checkpoint(self, trainer: StepTrainer) -> None:
        tensors = trainer.tensors()
        _check_finite(tensors.values(), trainer.done)
        trained = dataclasses.replace(
            self._start, tensors=tensors, sha256="", randomly_initialized=(), ranges={}
        )
        write_checkpoint(self._output, trained, force=True)


def _check_finite(values: Iterable[ArrayLike], step: int) -> None:
    if not all(np.isfinite(value).all() for value in values):
        raise TrainingError(
            f"the training diverged: at step {step} there are values that are not finite; lower "
            "the learning rate."
        )


def _stream(
    batches: EpochBatches, start: Cursor, count: int
) -> Iterator[tuple[Cursor, Mapping[str, Any]]]:
    _, sample = next(batches.after(start))
    for position, batch in islice(as_dataset(batches.after(start), sample), count):
        epoch, index = position.numpy().tolist()
        yield Cursor(epoch, index), batch


def _epoch(batches: EpochBatches) -> Iterator[tuple[Cursor, Mapping[str, np.ndarray]]]:
    return islice(batches.after(Cursor()), batches.count())


def _check_filled(batches: EpochBatches, options: PretrainOptions, name: str) -> None:
    if batches.count() == 0:
        raise TrainingError(
            f"{name} do not fill one batch of {options.batch_size} {batches.unit} of "
            f"{options.max_length} tokens; give more text or a smaller batch_size."
        )


# The log of a training's metrics by step: `curve.jsonl`, and event files for TensorBoard.


class MetricsLog:
    """The log of a training in a folder, which exists.

    Args:
        folder: The folder of `curve.jsonl` and `logs/`.
        after: The number of finished steps; entries of later ones, which are repeated, are removed.
        keep: Whether to write; one of several workers does.
    """

    def __init__(self, folder: Path, *, after: int, keep: bool = True) -> None:
        self._path, self._keep = folder / METRICS_FILE, keep
        self.points = _read(self._path, after) if after else []
        if keep:
            self._write()
            with _reraise_as_output_error(folder / _LOGS):
                self._writer = tf.summary.create_file_writer(str(folder / _LOGS))

    def add(self, step: int, **metrics: Mapping[str, float] | float | None) -> None:
        """Add metrics of a step: groups such as `train` and `held_out`, or single ones.

        Raises:
            OutputError: They cannot be written, as on a full disk.
        """
        known = {name: value for name, value in metrics.items() if value is not None}
        self.points.append({"step": step, **_rounded(known)})
        if self._keep:
            self._write()
            with _reraise_as_output_error(self._path.with_name(_LOGS)):
                self._log(step, known)

    def _log(self, step: int, known: Mapping[str, Mapping[str, float] | float]) -> None:
        with self._writer.as_default(step):
            for group, values in known.items():
                named = values.items() if isinstance(values, Mapping) else [("", values)]
                for name, value in named:
                    tag, scalar = f"{group}/{name}".rstrip("/"), tf.constant(value, tf.float32)
                    tf.summary.write(tag, scalar, metadata=_SCALAR)
            self._writer.flush()

    def _write(self) -> None:
        text = "".join(dump_json(point) + "\n" for point in self.points)
        write_file(self._path, text.encode(), force=True)


@contextmanager
def _reraise_as_output_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        # Its first line is such as "{{node}} /logs/events.out.tfevents.1.v2; No space left on ..."
        reason = str(error.message).partition("\n")[0].rpartition("; ")[2]
        raise OutputError(f"cannot write {folder}: {reason}.") from error


def _read(path: Path, after: int) -> list[dict[str, Any]]:
    try:
        points = [json.loads(line) for line in read_input(path).decode().splitlines()]
        return [point for point in points if point["step"] <= after]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"cannot resume {path}: {error}; restart with --force.") from error


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(value) if isinstance(value, Mapping) else float(f"{value:.6g}")
        for name, value in values.items()
    }
