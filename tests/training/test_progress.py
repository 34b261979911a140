"""Progress bars: what a step shows on a terminal, and nothing elsewhere."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from albert_edge.training.progress import epoch_progress, progress_bars


def shown(*, terminal: bool, history: list[dict[str, Any]], accuracy: float) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with epoch_progress(console, history, 4, description="begin") as show_step:
        show_step(0.25, 1.23456, accuracy)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("history", "accuracy", "text"),
    [
        ([], 0.5, "epoch 1/4  loss 1.235  accuracy 0.500"),
        ([], math.nan, "epoch 1/4  loss 1.235 "),
        ([{"dev_score": 0.75}], math.nan, "epoch 2/4  loss 1.235  dev 0.750"),
        ([{"dev_score": None}], 0.5, "epoch 2/4  loss 1.235  accuracy 0.500"),
    ],
)
def test_a_step_shows_what_is_known(
    history: list[dict[str, Any]], accuracy: float, text: str
) -> None:
    found = shown(terminal=True, history=history, accuracy=accuracy)
    assert text in found
    assert "nan" not in found


def test_where_there_is_no_terminal_there_is_no_bar() -> None:
    assert shown(terminal=False, history=[], accuracy=0.5) == ""
    assert progress_bars(None).disable


def test_the_bar_is_where_the_training_is() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with progress_bars(console) as bars:
        task = bars.add_task("", total=8)
        bars.update(task, completed=2)
        assert bars.tasks[0].percentage == 25
