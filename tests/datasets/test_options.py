"""`EvaluateOptions`: which values are allowed."""

from __future__ import annotations

import pytest

from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import ConfigError


def test_invalid_options() -> None:
    with pytest.raises(ConfigError, match="quoting must be auto or none, not 'all'"):
        EvaluateOptions(quoting="all")
    with pytest.raises(ConfigError, match="limit must be a whole number of at least 1, not 0"):
        EvaluateOptions(limit=0)
    with pytest.raises(ConfigError, match="workers must be"):
        EvaluateOptions(workers=-1)
    with pytest.raises(ConfigError, match="not NaN"):
        EvaluateOptions(null_threshold=float("nan"))
    with pytest.raises(ConfigError, match="bullets must be"):
        EvaluateOptions(bullets=0)
    with pytest.raises(ConfigError, match="task must be summarize or None, not 'sum'"):
        EvaluateOptions(task="sum")
    assert EvaluateOptions(workers=3).cores == 3
    assert EvaluateOptions().cores >= 1
