"""Progress bars of trainings, on a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["epoch_progress", "progress_bars"]


def progress_bars(console: Console | None) -> Progress:
    """Make progress bars on a console; they are silent if it is not a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console is None or not console.is_terminal,
    )


@contextmanager
def epoch_progress(
    console: Console | None,
    history: Sequence[Mapping[str, Any]],
    total: int,
    *,
    description: str = "",
) -> Iterator[Callable[[float, float, float], None]]:
    """Show the progress of `finetune` on a console.

    Args:
        console: The console, if any.
        history: The metrics of the finished epochs; it grows during the training.
        total: The number of epochs.
        description: The text before the first step.

    Yields:
        The function that shows a step: its arguments are the finished share of the training, in
        [0, 1), and the step's loss and accuracy.
    """
    with progress_bars(console) as bars:
        bar = bars.add_task(description, total=total)

        def show_step(done: float, loss: float, accuracy: float) -> None:
            text = f"epoch {len(history) + 1}/{total}  loss {loss:.3f}"
            if not math.isnan(accuracy):
                text += f"  accuracy {accuracy:.3f}"
            if history and history[-1]["dev_score"] is not None:
                text += f"  dev {history[-1]['dev_score']:.3f}"
            bars.update(bar, completed=done * total, description=text)

        yield show_step
