"""Whether a figure changed, or the machine was only as noisy as machines are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance

__all__ = ["Ratio", "ratio_of_rounds"]

# Student's t, two-sided 99%, for 1, 2, ... degrees of freedom; beyond 30 the normal quantile would
# be 7% off, so the last one stays.  99% and not 95%: a report has dozens of figures, and of those
# that did not change one in twenty would be said to.
_T = (
    *(63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169),
    *(3.106, 3.055, 3.012, 2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845),
    *(2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times the old figure the new one is.

    Attributes:
        ratio: New over old.
        low: The lower end of its 99% interval; None if nothing tells how the figure varies.
        high: The upper end.
        least: The smallest change, as a share, that is one, however quiet the machine was.
    """

    ratio: float
    low: float | None
    high: float | None
    least: float

    @property
    def verdict(self) -> str:
        """`better` (less), `worse` (more), `same` (within the noise) or `unknown`."""
        if self.low is None or self.high is None:
            return "unknown"
        if self.high < 1 and self.ratio < 1 / (1 + self.least):
            return "better"
        return "worse" if self.low > 1 and self.ratio > 1 + self.least else "same"


def ratio_of_rounds(
    old: Sequence[float], new: Sequence[float], *, ratio: float, least: float = 0.0
) -> Ratio | None:
    """Compare a figure of several rounds with that of several others.

    Each round is a process of its own, so the rounds are what repeats: samples within one share its
    luck, and however many they are, they cannot tell how another process would do.  Hence Welch's t
    interval (Welch 1947) of the rounds' logarithms.

    Args:
        old: The figure of each of the old rounds, such as its median; above 0.
        new: Of each of the new ones.
        ratio: How many times the old figure of all rounds the new one is, such as that of the
            medians of all samples.
        least: See `Ratio`.

    Returns:
        The ratio; None if there is none: no rounds, or a figure that is not above 0.

    Example:
        >>> ratio_of_rounds([10.0, 10.1, 10.2], [5.0, 5.1, 5.0], ratio=0.5).verdict
        'better'
    """
    if not old or not new or min(*old, *new) <= 0:
        return None
    if min(len(old), len(new)) < 2:
        return Ratio(ratio=ratio, low=None, high=None, least=least)
    half = _half_width(*([math.log(value) for value in values] for values in (old, new)))
    low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return Ratio(ratio=ratio, low=low, high=high, least=least)


def _half_width(old: Sequence[float], new: Sequence[float]) -> float:
    parts = [variance(values) / len(values) for values in (old, new)]
    if not (total := sum(parts)):
        return 0.0
    # Welch and Satterthwaite's degrees of freedom, rounded down to be careful.
    freedom = total**2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (old, new), strict=True)
    )
    return _T[min(int(freedom + 1e-9), len(_T)) - 1] * math.sqrt(total)
