"""Options that cannot be, and the learning rate."""

from __future__ import annotations

from typing import Any

import pytest

from albert_edge.errors import TrainingError
from albert_edge.training.pretraining.options import PretrainOptions


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"max_length": 7}, "max_length must be at least 8"),
        ({"examine_every": 0}, "examine_every must be at least 1"),
        ({"save_every_s": -1.0}, "save_every_s must be at least 0"),
        ({"save_every_s": float("nan")}, "save_every_s must be at least 0, not nan"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"batch_size": 9, "accumulate": 2}, "batch_size 9 must be a multiple of accumulate 2"),
        ({"optimizer": "sgd"}, "optimizer must be one of lamb, adamw, not 'sgd'"),
        ({"mixed_precision": "float16"}, "mixed_precision must be one of auto, off, bfloat16"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("inf")}, "learning_rate must be above 0"),
        ({"warm_up": 1.0}, r"warm_up must be in \[0, 1\)"),
        ({"weight_decay": float("nan")}, r"weight_decay must be in \[0, 1\)"),
    ],
)
def test_an_option_that_cannot_be_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        PretrainOptions(**values)


@pytest.mark.parametrize(
    ("steps", "warm_up"), [(1, 0.0), (1, 0.9), (10, 0.0), (100, 0.1), (7, 0.5)]
)
def test_the_rate_rises_and_falls_and_is_never_zero(steps: int, warm_up: float) -> None:
    options = PretrainOptions(steps=steps, warm_up=warm_up, learning_rate=2.0)
    rates = [options.rate(step) for step in range(steps)]
    assert all(0 < rate <= 2.0 for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert abs(top + 1 - warm_up * steps) <= 1
    if steps == 100:
        assert rates[0] == pytest.approx(0.2)
        assert rates[-1] == pytest.approx(2.0 / 90)
        assert max(rates) == pytest.approx(2.0)
