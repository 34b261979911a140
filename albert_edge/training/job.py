"""From a table on disk to a checkpoint on disk."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.checkpoints.counts import count_parameters
from albert_edge.config import AlbertConfig
from albert_edge.errors import OutputError, TrainingError
from albert_edge.evaluation.statistics import wilson
from albert_edge.files import check_writable
from albert_edge.training.data import LabelledTexts, read_labelled
from albert_edge.training.finetune import EpochResult, finetune
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.start import SMALL, fresh_checkpoint, with_new_head

__all__ = [
    "check_output",
    "epoch_figures",
    "finetune_files",
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
    labels: Sequence[str] | None = None,
    options: FinetuneOptions | None = None,
    force: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train an ALBERT on a table, and write the model after every epoch.

    Args:
        data: The training table; see `read_labelled`.
        output: The directory to write, which `read_checkpoint` reads.  Its parent must exist.
        source: The checkpoint to start from; None for a new model.
        init_head: Whether the head may start from random weights if `source` has none for these
            labels.
        config: The `config.json` of a new model; None for `start.SMALL`.
        dev: A table to measure the accuracy on.
        labels: The names of the classes; None for the labels in `data`.
        options: How to train.
        force: Whether a checkpoint that is in `output` already may be replaced.
        console: Where to show progress, if it is a terminal.

    Returns:
        A report ready for JSON: `output`, `labels`, `parameters`, `train_examples`,
        `dev_examples`, `dev_accuracy` and its 95% interval `dev_interval` (None without `dev`),
        `epochs`, `options`, `duration_s`.

    Raises:
        TrainingError: A table or an option cannot work.
        CheckpointError: `source` cannot be read.
        ConfigError: `config` cannot be read.
        OutputError: `output` holds a checkpoint and `force` is false, or cannot be written.
    """
    options = options or FinetuneOptions()
    check_output(output, force=force)
    began = time.monotonic()
    train = read_labelled(data, labels=labels)
    held_out = None if dev is None else read_labelled(dev, labels=train.labels)
    start = _start(source, config, train, init_head=init_head, seed=options.seed)
    epochs: list[dict[str, Any]] = []
    with training_bars(console) as bars:
        bar = bars.add_task("", total=options.epochs)
        tell = partial(show_step, bars, bar, epochs, options.epochs)
        for result in finetune(start, train, dev=held_out, options=options, progress=tell):
            write_checkpoint(output, result.checkpoint, force=force or bool(epochs))
            epochs.append(epoch_figures(result))
    return {
        "output": str(output),
        "labels": list(train.labels),
        "parameters": count_parameters(start.config, start.task),
        "train_examples": len(train),
        "dev_examples": len(held_out) if held_out else None,
        "dev_accuracy": epochs[-1]["dev_accuracy"],
        "dev_interval": wilson_interval(epochs[-1]["dev_accuracy"], held_out),
        "epochs": epochs,
        "options": dataclasses.asdict(options),
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


def _start(
    source: str | None,
    config: Path | None,
    train: LabelledTexts,
    *,
    init_head: bool,
    seed: int,
) -> Checkpoint:
    if source is None:
        shape = SMALL if config is None else AlbertConfig.read(config)
        return fresh_checkpoint(shape, train.texts, train.labels, seed=seed)
    if config is not None:
        raise TrainingError(
            "a model has the shape of the checkpoint it starts from; drop --config."
        )
    start = read_checkpoint(source)
    if start.config.problem_type not in (None, "single_label_classification"):
        raise TrainingError(
            f"{source} is for {start.config.problem_type}; this trains one label for each text."
        )
    if (start.task, start.config.labels) != ("classification", train.labels) and not init_head:
        raise TrainingError(
            f"{source} has no head that classifies into {', '.join(train.labels)}; it is for "
            f"{start.task} ({', '.join(start.config.labels)}). --init-head (init_head=True) keeps "
            "its encoder and starts with a random head."
        )
    return with_new_head(start, train.labels, seed=seed)


def epoch_figures(result: EpochResult) -> dict[str, Any]:
    """Return what an epoch came to, ready for JSON."""
    return {
        "epoch": result.epoch,
        "loss": round(result.loss, 4),
        "accuracy": round(result.accuracy, 4),
        "dev_accuracy": None if result.dev_accuracy is None else round(result.dev_accuracy, 4),
        "duration_s": round(result.duration_s, 1),
    }


def wilson_interval(accuracy: float | None, dev: LabelledTexts | None) -> list[float] | None:
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
    text = f"epoch {len(epochs) + 1}/{total}  loss {loss:.3f}  accuracy {accuracy:.3f}"
    if epochs and epochs[-1]["dev_accuracy"] is not None:
        text += f"  dev {epochs[-1]['dev_accuracy']:.3f}"
    bars.update(bar, completed=done * total, description=text)
