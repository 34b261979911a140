"""`FinetuneOptions` and `BestCheckpoint`: which values are allowed."""

from __future__ import annotations

import pytest

from albert_edge.errors import TrainingError
from albert_edge.training.options import FinetuneOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("max_length", 2),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("averaging", 1.0),
        ("sampling", 0.0),
    ],
)
def test_options_that_cannot_work(name: str, value: float) -> None:
    with pytest.raises(TrainingError, match=f"{name} must be"):
        FinetuneOptions(**{name: value})  # type: ignore[arg-type]
