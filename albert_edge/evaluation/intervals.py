"""How far a figure can be trusted, and whether two differ by more than chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = [
    "Floats",
    "Statistic",
    "bootstrap",
    "bootstrap_p_value",
    "mcnemar",
    "paired_interval",
    "percentile_interval",
    "wilson",
]

Floats = npt.NDArray[np.float64]
# A figure of n examples, as a function of how often each of them counts: float64 [n].
Statistic = Callable[[Floats], float]
_Z = 1.959963984540054  # the normal quantile of 97.5%
_RESAMPLES = 2000
_SEED = 20190926  # any will do, if it stays


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the 95% interval of a share, by Wilson 1927: it never leaves [0, 1].

    Example:
        >>> [round(bound, 3) for bound in wilson(8, 10)]
        [0.49, 0.943]
    """
    share, square = right / count, _Z * _Z
    middle = (share + square / (2 * count)) / (1 + square / count)
    spread = math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    half = _Z * spread / (1 + square / count)
    # Rounding must not push a bound beyond the share where it equals it.
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)


def bootstrap(statistics: Sequence[Statistic], count: int) -> Floats:
    """Compute figures of samples that are drawn from the examples with replacement.

    All figures are computed of the same samples, so two models' figures can be subtracted (Efron &
    Tibshirani 1993); the same arguments give the same result.

    Args:
        statistics: M figures of the same examples.
        count: n, the number of examples.

    Returns:
        float64 [2000, M]; NaN where a sample has no such figure.
    """
    draw = np.random.default_rng(_SEED)
    rows = []
    for _ in range(_RESAMPLES):
        weights = np.bincount(draw.integers(count, size=count), minlength=count).astype(np.float64)
        rows.append([statistic(weights) for statistic in statistics])
    return np.array(rows, np.float64)


def percentile_interval(samples: Floats) -> tuple[float, float]:
    """Return the middle 95% of a figure's samples, [2000]; NaN if no sample has it."""
    known = samples[~np.isnan(samples)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5]).tolist()
    return low, high


def bootstrap_p_value(difference: float, samples: Floats) -> float:
    """Tell how often chance alone makes a difference of this size, either way.

    Args:
        difference: Between two models on the examples.
        samples: The same on samples of them, [2000]; moved to a mean of 0 they show what chance
            does (Efron & Tibshirani 1993, ch. 16).
    """
    known = samples[~np.isnan(samples)]
    if math.isnan(difference) or not len(known):
        return math.nan
    as_large = int((np.abs(known - known.mean()) >= abs(difference)).sum())
    return (1 + as_large) / (1 + len(known))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value that two models are right equally often (McNemar 1947).

    Args:
        only_first: How many examples only the first model has right.
        only_second: How many only the second.

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
    """Return the 95% interval of the second share less the first, on the same examples.

    The adjusted Wald interval of Bonett & Price 2012 (doi:10.3102/1076998611411915), which keeps
    its promise also for small and for equal numbers.

    Args:
        only_first: How many examples only the first model has right.
        only_second: How many only the second.
        count: The number of all examples.
    """
    first, second = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    difference = second - first
    half = _Z * math.sqrt((first + second - difference * difference) / (count + 2))
    return max(difference - half, -1.0), min(difference + half, 1.0)
