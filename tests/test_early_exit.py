"""`EarlyExit`: the host leaves where the rule of the papers says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from albert_edge.early_exit import NEVER, EarlyExit, default_exit
from albert_edge.errors import ConfigError
from exits import passes_by_hand

# Whole numbers, so that labels repeat and no probability is within a rounding of the threshold.
LOGITS = st.tuples(st.integers(1, 8), st.sampled_from([(), (1,), (2,), (4,)])).flatmap(
    lambda sizes: arrays(np.float32, (sizes[0], *sizes[1], 3), elements=st.integers(-2, 2))
)


@given(
    logits=LOGITS,
    patience=st.integers(1, 9),
    threshold=st.sampled_from([0.0, 0.41, 0.73, 0.95, 2.0]),
    max_layers=st.none() | st.integers(1, 9),
)
def test_it_leaves_where_the_rule_says(
    logits: Any, patience: int, threshold: float, max_layers: int | None
) -> None:
    rule = EarlyExit(patience=patience, threshold=threshold, max_layers=max_layers)
    left = (made for made in range(1, len(logits) + 1) if rule.should_exit(logits[:made]))
    assert next(left, len(logits)) == passes_by_hand(logits, rule)


def test_never_is_never() -> None:
    logits = np.tile(np.float32([100, 0]), (50, 1))
    assert not any(NEVER.should_exit(logits[:made]) for made in range(1, 51))


def test_inputs_of_a_signature() -> None:
    given = EarlyExit(patience=3, threshold=0.5).arrays()
    assert {name: (a.dtype, a.tolist()) for name, a in given.items()} == {
        "patience": (np.int32, [3]),
        "threshold": (np.float32, [0.5]),
        "max_layers": (np.int32, [2**31 - 1]),
    }
    assert EarlyExit(patience=3, threshold=0.5, max_layers=4).arrays()["max_layers"] == [4]


def test_the_default_is_a_patience_of_half_the_passes() -> None:
    assert [default_exit(passes).patience for passes in (1, 2, 5, 12)] == [1, 1, 2, 6]
    assert default_exit(12) == EarlyExit(patience=6, threshold=2.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patience": 0}, "patience must be a whole number of at least 1, not 0"),
        ({"patience": True}, "patience must be a whole number"),
        ({"patience": 2**31}, "patience must be"),
        ({"max_layers": 1.0}, "max_layers must be a whole number of at least 1, not 1.0"),
        ({"threshold": -0.1}, "threshold must be a probability, or above 1 for none, not -0.1"),
        ({"threshold": math.nan}, "threshold must be"),
        ({"threshold": math.inf}, "threshold must be"),
        ({"threshold": "high"}, "threshold must be a probability, .*, not 'high'"),
    ],
)
def test_rules_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EarlyExit(**{"patience": 1, "threshold": 0.5, **fields})
