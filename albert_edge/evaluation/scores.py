"""Metrics with their intervals, and the differences between two models' metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from albert_edge.evaluation.metrics import Metric
from albert_edge.evaluation.statistics import (
    Floats,
    bootstrap,
    bootstrap_p_value,
    mcnemar,
    paired_interval,
    percentile_interval,
    wilson,
)

__all__ = ["differences", "figures", "resample"]


def resample(metrics: Sequence[Metric], count: int) -> Floats:
    """Compute all metrics, of any number of models, of the same samples of `count` examples.

    Returns:
        float64 [M, 2000].
    """
    samples: Floats = bootstrap([metric.statistic for metric in metrics], count).T
    return samples


def figures(metrics: Sequence[Metric], samples: Floats, count: int) -> dict[str, dict[str, Any]]:
    """Return each metric's value and its 95% interval.

    A share of right answers has Wilson's interval, another figure that of the bootstrap.

    Args:
        metrics: M metrics.
        samples: What `resample` made of them, [M, 2000].
        count: The number of examples.

    Returns:
        By the metric's name: `value`, `low`, `high` (None where undefined), `share` (whether it is
        one) and the interval's `method`.
    """
    return {
        metric.name: _figure(metric, row, count)
        for metric, row in zip(metrics, samples, strict=True)
    }


def differences(
    metrics: Sequence[Sequence[Metric]], samples: Floats, count: int
) -> dict[str, dict[str, Any]]:
    """Return how much each of the second model's metrics exceeds the first's, and by what chance.

    Args:
        metrics: M metrics of one model, and the same of another one, on the same examples.
        samples: What `resample` made of all, [2, M, 2000].
        count: The number of examples.

    Returns:
        By the metric's name: `value`, its 95% interval `low` and `high`, `p_value`, `share`, and
        the `test`: McNemar's exact one of right and wrong answers, otherwise the paired bootstrap.
    """
    rows = zip(*metrics, samples[1] - samples[0], strict=True)
    return {one.name: _difference(one, other, row, count) for one, other, row in rows}


def _figure(metric: Metric, samples: Floats, count: int) -> dict[str, Any]:
    if metric.right is None:
        (low, high), method = percentile_interval(samples), "bootstrap"
    else:
        (low, high), method = wilson(int(metric.right.sum()), count), "wilson"
    value = metric.statistic(np.ones(count))
    return {**_known(value=value, low=low, high=high), "share": metric.share, "method": method}


def _difference(first: Metric, second: Metric, samples: Floats, count: int) -> dict[str, Any]:
    every = np.ones(count)
    value = second.statistic(every) - first.statistic(every)
    if first.right is None or second.right is None:
        low, high = percentile_interval(samples)
        p_value, test = bootstrap_p_value(value, samples), "bootstrap"
    else:
        lost = int((first.right & ~second.right).sum())
        won = int((second.right & ~first.right).sum())
        low, high = paired_interval(lost, won, count)
        p_value, test = mcnemar(lost, won), "mcnemar"
    known = _known(value=value, low=low, high=high, p_value=p_value)
    return {**known, "share": first.share, "test": test}


def _known(**values: float) -> dict[str, float | None]:
    # JSON has no NaN.
    return {name: None if math.isnan(value) else value for name, value in values.items()}
