"""Confidence intervals of metrics, and significance tests between two models.

Closed forms for proportions (Wilson, McNemar, Bonett & Price), the bootstrap for everything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["paired_interval", "wilson"]

Floats = npt.NDArray[np.float64]
_Z = 1.959963984540054  # the normal quantile of 97.5%
_RESAMPLES = 2000
_SEED = 20190926  # arbitrary, but fixed


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Return the 95% interval of a proportion, by Wilson 1927: it never leaves [0, 1].

    Example:
        >>> [round(bound, 3) for bound in wilson(8, 10)]
        [0.49, 0.943]
    """
    proportion, square = correct / count, _Z * _Z
    middle = (proportion + square / (2 * count)) / (1 + square / count)
    spread = math.sqrt(proportion * (1 - proportion) / count + square / (4 * count * count))
    half = _Z * spread / (1 + square / count)
    # Rounding must not push a bound beyond the proportion where it equals it.
    return max(min(middle - half, proportion), 0.0), min(max(middle + half, proportion), 1.0)


def bootstrap(statistics: Sequence[Callable[[Floats], float]], count: int) -> Floats:
    """Compute statistics of samples that are drawn from the examples with replacement.

    All statistics are computed of the same samples, so those of two models can be subtracted (Efron
    & Tibshirani 1993); the same arguments give the same result.

    Args:
        statistics: M functions of the examples' weights: how often each counts, float64 [n].
        count: n, the number of examples.

    Returns:
        float64 [M, 2000]; NaN where the statistic of a sample is undefined.
    """
    rng = np.random.default_rng(_SEED)
    samples = np.empty((len(statistics), _RESAMPLES))
    for column in range(_RESAMPLES):
        weights = np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)
        samples[:, column] = [statistic(weights) for statistic in statistics]
    return samples


def percentile_interval(samples: Floats) -> tuple[float, float]:
    """Return the middle 95% of a statistic's samples, [2000]; NaN if all are NaN."""
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5]).tolist()
    return low, high


def bootstrap_p_value(difference: float, samples: Floats) -> float:
    """Return the two-sided p-value of a difference between two models.

    Args:
        difference: The difference on the examples.
        samples: The difference on samples of them, [2000]; shifted to a mean of 0 they follow the
            null hypothesis (Efron & Tibshirani 1993, ch. 16).
    """
    defined = samples[~np.isnan(samples)]
    if math.isnan(difference) or not len(defined):
        return math.nan
    as_large = int((np.abs(defined - defined.mean()) >= abs(difference)).sum())
    return (1 + as_large) / (1 + len(defined))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value that two models are equally accurate (McNemar 1947).

    Args:
        only_first: The number of examples on which only the first model is correct.
        only_second: The same for the second.

    Example:
        >>> mcnemar(1, 9)
        0.021484375
    """
    count, term, total = only_first + only_second, 1, 0
    for index in range(min(only_first, only_second) + 1):
        total += term
        term = term * (count - index) // (index + 1)  # the next binomial coefficient
    return min(1.0, 2 * total / (1 << count))


def paired_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """Return the 95% interval of the second proportion less the first, on the same examples.

    The adjusted Wald interval of Bonett & Price 2012 (doi:10.3102/1076998611411915), whose coverage
    also holds for small and for equal counts.

    Args:
        only_first: The number of examples on which only the first model is correct.
        only_second: The same for the second.
        count: The number of all examples.
    """
    first, second = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    difference = second - first
    half = _Z * math.sqrt((first + second - difference * difference) / (count + 2))
    return max(difference - half, -1.0), min(difference + half, 1.0)
