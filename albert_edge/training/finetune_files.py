"""Fine-tune from a data file to a checkpoint on disk."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from albert_edge.checkpoints import check_folder, write_checkpoint
from albert_edge.checkpoints.init import count_parameters
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import TrainingError
from albert_edge.training.finetune import finetune
from albert_edge.training.options import BestCheckpoint, FinetuneOptions
from albert_edge.training.progress import epoch_progress
from albert_edge.training.setup import TrainingSetup, make_setup
from albert_edge.training.state import StateWriter, check_state, open_state

__all__ = ["finetune_files"]


def finetune_files(
    data: Path,
    output: Path,
    *,
    source: str | None = None,
    init_head: bool = False,
    config: Path | None = None,
    dev: Path | None = None,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    data_options: EvaluateOptions | None = None,
    teacher_column: str | None = None,
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
        source: The checkpoint to start from; None for a new model.
        init_head: Whether the head may start from random weights if `source` lacks one for these
            labels.
        config: The `config.json` of a new model; None for `init.DEFAULT_CONFIG`.
        dev: The file to compute the task's metrics on.
        task: The kind of the examples, a key of `tasks.OBJECTIVES`; None for that of the head of
            `source`, or else of such files.
        labels: The names of the labels; None for those in `data`.
        data_options: The names of the columns.
        teacher_column: The column of a teacher's probabilities, which are then the targets.
        early_exit: Whether to train a classifier after every layer.
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
        `dev_metrics`, `epochs`, `options`, `selection`, `early_exit` (of the model), `resumed`,
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
        early_exit=early_exit,
        options=options,
    )
    saved = open_state(state, owner=setup.fingerprint, resume=resume)
    epochs = [dict(entry) for entry in saved.history] if saved else []
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
