"""A pre-training, from its first step or from where it was saved, to its last."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from albert_edge.checkpoints import Checkpoint, write_checkpoint
from albert_edge.errors import OutputError, TrainingError
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.pretraining.corpus import Document
from albert_edge.training.pretraining.distributed import DistributedContext
from albert_edge.training.pretraining.masking import Cursor, PretrainBatches, as_dataset
from albert_edge.training.pretraining.metrics_log import MetricsLog
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.trainer import PretrainTrainer, mean_metrics
from albert_edge.training.state import TrainingState, fingerprint, read_state, write_state

__all__ = ["STATE_FILE", "pretrain"]

STATE_FILE = "training.npz"  # there while a training is not done
_EXAMINED = 50  # batches of held-out text, at most
_NOTHING = np.zeros(6)  # the sums of no step


def pretrain(
    start: Checkpoint,
    documents: Sequence[Document],
    *,
    output: Path,
    held_out: Sequence[Document] = (),
    options: PretrainOptions,
    resume: bool = False,
    workers: DistributedContext | None = None,
    progress: Callable[[int, Mapping[str, float]], None] = lambda step, found: None,
) -> MetricsLog:
    """Train `start` on documents, and keep it in `output`, also on the way.

    Args:
        start: A checkpoint with a pre-training head and its tokenizer.
        documents: What to learn from, encoded by that tokenizer.
        output: The directory to write.  It gets the checkpoint, `curve.jsonl`, and TensorBoard's
            logs; as long as the training is not done, also `training.npz`, to go on from.
        held_out: What to examine the model on.
        options: How to train.
        resume: Whether to go on with the training that was saved in `output`.
        workers: Those that share the work; None for this process alone.
        progress: Called after every step with how many were made and the step's figures.

    Returns:
        The figures of the training, with those of every examination.

    Raises:
        TrainingError: There is too little text, the loss diverged, or what is to be resumed is not
            there, damaged, or of another training.
        OutputError: `output` cannot be written.
    """
    workers = workers or DistributedContext.alone()
    workers.check(options)
    batches = _batches(documents, start, options, options.seed)
    if batches.count() == 0:
        raise TrainingError(
            f"the texts do not fill one batch of {options.batch_size} pairs of "
            f"{options.max_length} tokens; give more text or a smaller batch_size."
        )
    examined = _examined(held_out, start, options)
    saving = _StateWriter(output, start, documents, options, workers)
    if not resume:
        saving.begin()
    saved = saving.read() if resume else None
    with workers.together():
        trainer = PretrainTrainer(start, options, strategy=workers.strategy)
    if saved:
        trainer.restore(saved.arrays)
    start_at = Cursor(saved.epoch, saved.index) if saved else Cursor()
    sums = np.array(saved.sums) if saved else _NOTHING
    curve = MetricsLog(output, after=trainer.done, keep=workers.first)
    for position, batch in _stream(batches, start_at, options.steps - trainer.done):
        step = trainer.done
        with workers.together():
            found = trainer.step(workers.part(batch), rate=options.rate(step))
        _check_finite(found, step + 1)
        sums = sums + found
        progress(step + 1, mean_metrics(found))
        if (step + 1) % options.examine_every == 0 or step + 1 == options.steps:
            held = trainer.examine(examined) if examined else {}
            _check_finite(held.values(), step + 1)
            curve.add(
                step + 1, train=mean_metrics(sums), held_out=held or None, rate=options.rate(step)
            )
            sums = _NOTHING
        saving.write(trainer, position, sums)
    saving.finish(trainer)
    return curve


class _StateWriter:
    """Where a training is kept: by the first of its workers, for all of them."""

    def __init__(
        self,
        output: Path,
        start: Checkpoint,
        documents: Sequence[Document],
        options: PretrainOptions,
        workers: DistributedContext,
    ) -> None:
        words = np.concatenate([sentence for document in documents for sentence in document])
        lengths = [[len(sentence) for sentence in document] for document in documents]
        self._of = fingerprint(start, words, lengths, dataclasses.replace(options, save_every_s=0))
        self._output, self._start, self._options = output, start, options
        self._first = workers.first
        self._written = time.monotonic()

    def begin(self) -> None:
        """Make the directory; forget a training that was interrupted."""
        if self._first:
            try:
                self._output.mkdir(exist_ok=True)
                (self._output / STATE_FILE).unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot write {self._output}: {error.strerror}.") from error

    def read(self) -> TrainingState:
        return read_state(self._output / STATE_FILE, of=self._of)

    def write(self, trainer: PretrainTrainer, position: Cursor, sums: np.ndarray) -> None:
        due = time.monotonic() - self._written >= self._options.save_every_s
        if not (due and self._first and trainer.done < self._options.steps):
            return
        snapshot = TrainingState(
            epoch=position.epoch,
            index=position.index,
            steps=self._options.steps,
            random={},
            sums=sums.tolist(),
            arrays=trainer.snapshot(),
        )
        # The state last: whatever is interrupted, the older state and a checkpoint are there.
        self._keep(trainer)
        write_state(self._output / STATE_FILE, snapshot, of=self._of)
        self._written = time.monotonic()

    def finish(self, trainer: PretrainTrainer) -> None:
        if self._first:
            self._keep(trainer)
            (self._output / STATE_FILE).unlink(missing_ok=True)

    def _keep(self, trainer: PretrainTrainer) -> None:
        tensors = trainer.tensors()
        _check_finite(tensors.values(), trainer.done)
        made = dataclasses.replace(
            self._start, tensors=tensors, sha256="", randomly_initialized=(), ranges={}
        )
        write_checkpoint(self._output, made, force=True)


def _check_finite(values: Iterable[ArrayLike], step: int) -> None:
    if not all(np.isfinite(value).all() for value in values):
        raise TrainingError(
            f"the training diverged: at step {step} there are numbers that are not finite; lower "
            "the learning rate."
        )


def _stream(batches: PretrainBatches, position: Cursor, count: int) -> Any:
    _, first = next(batches.after(position))
    dataset = as_dataset(batches.after(position), first)
    for place, batch in islice(dataset, count):
        epoch, index = place.numpy().tolist()
        yield Cursor(epoch, index), batch


def _batches(
    documents: Sequence[Document], start: Checkpoint, options: PretrainOptions, seed: int
) -> PretrainBatches:
    return PretrainBatches(
        documents,
        tokenizer_from_files(start.tokenizer_files),
        batch_size=options.batch_size,
        max_length=options.max_length,
        seed=seed,
    )


def _examined(
    documents: Sequence[Document], start: Checkpoint, options: PretrainOptions
) -> list[Mapping[str, np.ndarray]]:
    """Return the batches of held-out text, always the same ones."""
    if not documents:
        return []
    batches = _batches(documents, start, options, options.seed + 1)
    if (count := batches.count()) == 0:
        raise TrainingError(
            f"the held-out texts do not fill one batch of {options.batch_size} pairs of "
            f"{options.max_length} tokens; give more text or a smaller batch_size."
        )
    return [batch for _, batch in islice(batches.after(Cursor()), min(count, _EXAMINED))]
