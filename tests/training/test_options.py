"""`FinetuneOptions` and `BestCheckpoint`: which values are allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from albert_edge.errors import TrainingError
from albert_edge.training.options import BestCheckpoint, FinetuneOptions, check_fields


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


@dataclass(frozen=True, kw_only=True)
class Toy:
    shape: str = field(default="round", metadata={"choices": ("round", "flat")})
    share: float = field(default=0.0, metadata={"min": 0, "below": 1})
    count: int = field(default=1, metadata={"min": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": "square"}, "shape must be one of round, flat, not 'square'"),
        ({"share": 1.0}, r"share must be in \[0, 1\), not 1.0"),
        ({"share": math.nan}, r"share must be in \[0, 1\), not nan"),
        ({"count": 0}, "count must be at least 1, not 0"),
    ],
)
def test_fields_are_checked_against_their_metadata(values: dict[str, Any], message: str) -> None:
    check_fields(Toy())
    with pytest.raises(TrainingError, match=message):
        check_fields(Toy(**values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"keep": "first"}, "keep must be one of last, best, not 'first'"),
        ({"patience_epochs": 0}, "patience_epochs must be at least 1, not 0"),
    ],
)
def test_selections_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        BestCheckpoint(**values)


def test_a_dev_set_is_needed_where_it_decides() -> None:
    assert not BestCheckpoint().needs_dev
    assert BestCheckpoint(keep="best").needs_dev
    assert BestCheckpoint(patience_epochs=1).needs_dev
