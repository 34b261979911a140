"""From a table on disk to a checkpoint on disk."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence, Sized
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from albert_edge.checkpoints import write_checkpoint
from albert_edge.checkpoints.init import count_parameters
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import OutputError, TrainingError
from albert_edge.evaluation.intervals import wilson
from albert_edge.evaluation.metrics import Metric
from albert_edge.files import check_writable
from albert_edge.training.finetune import EpochResult, finetune
from albert_edge.training.options import BestCheckpoint, FinetuneOptions
from albert_edge.training.setup import make_setup
from albert_edge.training.state import SaveConfig, read_state, state_file

__all__ = [
    "best_epoch",
    "check_output",
    "epoch_figures",
    "finetune_files",
    "should_stop",
    "show_step",
    "training_bars",
    "wilson_interval",
]


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
    """Train an ALBERT on a file, and write the model after every epoch that is to be kept.

    Now and then the training is saved beside the output, in `OUTPUT.training`.

    Args:
        data: What to learn, in a form that `evaluate` reads for the same task.
        output: The directory to write, which `read_checkpoint` reads.  Its parent must exist.
        source: The checkpoint to start from; None for a new model.
        init_head: Whether the head may start from random weights if `source` has none for these
            labels.
        config: The `config.json` of a new model; None for `start.DEFAULT_CONFIG`.
        dev: A file to measure the task's figures on.
        task: What to learn, one of `OBJECTIVES`; None for what the head of `source` is for, or what
            such a file is usually for.
        labels: The names of the classes; None for the labels in `data`.
        data_options: The names of the columns.
        teacher_column: The column of the probabilities that a better model found; see
            `add_teacher_targets`.
        early_exit: Whether the model learns to answer after every pass.
        options: How to train.
        selection: Which epoch's model is kept, and when to end early.
        save_every_s: The least time between two savings.
        resume: Whether to go on with a training that was interrupted.
        force: Whether to replace a checkpoint that is in `output` already, and to forget an
            interrupted training.
        console: Where to show progress, if it is a terminal.

    Returns:
        A report ready for JSON: `output`, `task`, `labels`, `parameters`, `train_examples`,
        `truncated` (examples that were cut in the first epoch), `dev_examples`, `metric` (the
        official one, which decides), `kept_epoch`, its `dev_accuracy` with the 95% interval
        `dev_interval` (None where it is not a share of the examples) and all its `dev_metrics`,
        `epochs`, `options`, `selection`, `early_exit` (of the model), `resumed`, `duration_s`.

    Raises:
        TrainingError: The data or an option cannot work, or what is to be resumed is not there,
            damaged, or of another training.
        InputError: A file of examples cannot be read or does not fit.
        CheckpointError: `source` cannot be read.
        ConfigError: `config` cannot be read.
        OutputError: `output` holds a checkpoint or an interrupted training and `force` is false,
            or cannot be written.
    """
    options, selection = options or FinetuneOptions(), selection or BestCheckpoint()
    data_options = data_options or EvaluateOptions()
    state = state_file(output.with_name(f"{output.name}.training"), resume=resume, force=force)
    check_output(output, force=force or resume)
    if dev is None and selection.needs_dev:
        raise TrainingError("what is chosen by a dev set needs --dev.")
    began = time.monotonic()
    setup = make_setup(
        data,
        dev,
        source=source,
        init_head=init_head,
        config=config,
        task=task,
        labels=labels,
        data_options=data_options,
        teacher_column=teacher_column,
        early_exit=early_exit,
        options=options,
    )
    of = setup.fingerprint
    if force:
        state.unlink(missing_ok=True)
    saved = read_state(state, of=of) if resume else None
    epochs = [dict(entry) for entry in saved.history] if saved else []
    saving = SaveConfig(path=state, of=of, every_s=save_every_s, history=epochs)
    with training_bars(console) as bars:
        bar = bars.add_task("", total=options.epochs)
        tell = partial(show_step, bars, bar, epochs, options.epochs)
        for result in finetune(
            setup.start,
            setup.objective,
            dev=setup.dev,
            options=options,
            saving=saving,
            saved=saved,
            progress=tell,
        ):
            epochs.append(epoch_figures(result))
            kept = best_epoch(epochs) if selection.keep == "best" else len(epochs) - 1
            if kept == len(epochs) - 1:
                write_checkpoint(output, result.checkpoint, force=force or resume or kept > 0)
            if should_stop(epochs, selection):
                break
    state.unlink(missing_ok=True)
    return {
        "output": str(output),
        "task": setup.objective.examples.kind,
        "labels": list(setup.objective.labels),
        "parameters": count_parameters(setup.start.config, setup.start.task),
        "train_examples": len(setup.objective),
        "truncated": epochs[0]["truncated"],
        "dev_examples": len(setup.dev) if setup.dev else None,
        "metric": result.metrics[0].name if result.metrics else None,
        "kept_epoch": epochs[kept]["epoch"],
        "dev_accuracy": epochs[kept]["dev_accuracy"],
        "dev_interval": epochs[kept]["dev_interval"],
        "dev_metrics": epochs[kept]["dev"],
        "epochs": epochs,
        "options": dataclasses.asdict(options),
        "selection": dataclasses.asdict(selection),
        "early_exit": setup.start.config.early_exit,
        "resumed": resume,
        "duration_s": round(time.monotonic() - began, 1),
    }


def check_output(output: Path, *, force: bool) -> None:
    """Find out before the training, not after it, that the output cannot be written."""
    if output.is_dir():
        check_writable(output / "config.json", force=force)
    elif output.exists():
        raise OutputError(f"{output} is a file; name a directory.")
    else:
        check_writable(output)


def epoch_figures(result: EpochResult) -> dict[str, Any]:
    """Return what an epoch came to, ready for JSON; what is undefined is None."""
    dev = {name: _rounded(value) for name, value in result.dev.items()}
    return {
        "epoch": result.epoch,
        "loss": round(result.loss, 4),
        "accuracy": _rounded(result.accuracy),
        "dev_accuracy": dev.get("accuracy"),
        "dev_interval": _interval(result.metrics),
        "dev_score": next(iter(dev.values()), None),
        "dev": dev,
        "truncated": result.truncated,
        "duration_s": round(result.duration_s, 1),
    }


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _interval(metrics: Sequence[Metric]) -> list[float] | None:
    """Return that of the accuracy, if it is a share of the examples; that of words is not."""
    right = next((one.correct for one in metrics if one.name == "accuracy"), None)
    return None if right is None else wilson_interval(float(right.mean()), right)


def wilson_interval(accuracy: float | None, dev: Sized | None) -> list[float] | None:
    """Return the 95% interval of an accuracy, by Wilson 1927: it never leaves [0, 1]."""
    if accuracy is None or dev is None:
        return None
    bounds = wilson(round(accuracy * len(dev)), len(dev))
    return [round(bound, 4) for bound in bounds]


def training_bars(console: Console | None) -> Progress:
    """Make progress bars on a console, silent if it is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console is None or not console.is_terminal,
    )


def show_step(
    bars: Progress,
    bar: TaskID,
    epochs: list[dict[str, Any]],
    total: int,
    done: float,
    loss: float,
    accuracy: float,
) -> None:
    """Show a step of `finetune` on a bar whose total is the number of epochs.

    Args:
        bars: The bars.
        bar: Which of them.
        epochs: The figures of those that are done.
        total: How many there will be.
        done: The share of the run that is done.
        loss: The step's.
        accuracy: The step's.
    """
    text = f"epoch {len(epochs) + 1}/{total}  loss {loss:.3f}"
    if not math.isnan(accuracy):
        text += f"  accuracy {accuracy:.3f}"
    if epochs and epochs[-1]["dev_score"] is not None:
        text += f"  dev {epochs[-1]['dev_score']:.3f}"
    bars.update(bar, completed=done * total, description=text)


def best_epoch(epochs: Sequence[Mapping[str, Any]]) -> int:
    """Return the place of the epoch with the highest `dev_score`, the first of several.

    A score of None, where the metric is undefined, is the lowest.
    """
    return max(range(len(epochs)), key=lambda at: _score(epochs[at]))


def should_stop(epochs: Sequence[Mapping[str, Any]], selection: BestCheckpoint) -> bool:
    """Tell whether a training ends after these epochs, though more were planned."""
    patience = selection.patience_epochs
    return patience is not None and len(epochs) > best_epoch(epochs) + patience


def _score(epoch: Mapping[str, Any]) -> float:
    score = epoch["dev_score"]
    return -math.inf if score is None else float(score)
