"""Where a figure lies on an axis, and which round figures to write beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Axis"]

_MOST_TICKS = 6
# The digits to try, the densest first.
_STEPS = ((1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A logarithmic axis: what counts is how many times one figure is another.

    Attributes:
        low: The figure at its beginning, above 0.
        high: The figure at its end, above `low`.
    """

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float], *, margin: float = 0.04) -> Axis:
        """Make an axis on which all these figures have room; those not above 0 lie at its low end.

        Args:
            values: The figures, at least one.
            margin: How much of its length to leave free at both ends.

        Example:
            >>> axis = Axis.around([1, 100], margin=0)
            >>> axis.at(10), axis.ticks()
            (50.0, [1.0, 3.0, 10.0, 30.0, 100.0])
        """
        above = [value for value in values if value > 0] or [1.0]
        low, high = min(above), max(above)
        # Figures that are all but equal shall look so, not fill the axis with their last digits.
        least = 1.2
        if high / low < least:
            middle = math.sqrt(low) * math.sqrt(high)
            low, high = middle / math.sqrt(least), middle * math.sqrt(least)
        room = (high / low) ** margin
        return cls(low=low / room, high=high * room)

    def at(self, value: float) -> float:
        """Return the place of a figure in hundredths of the axis, in [0, 100]."""
        if value <= self.low:
            return 0.0
        place = 100 * math.log(value / self.low) / math.log(self.high / self.low)
        return round(min(place, 100.0), 2)

    def ticks(self) -> list[float]:
        """Return round figures on the axis, at most six."""
        least, most = math.floor(math.log10(self.low)), math.floor(math.log10(self.high))
        powers = range(least, most + 1)
        for digits in _STEPS:
            found = self._within(digit * 10.0**power for power in powers for digit in digits)
            if len(found) <= _MOST_TICKS:
                break
        if len(found) > _MOST_TICKS:
            found = found[:: math.ceil(len(found) / _MOST_TICKS)]
        return found if len(found) >= 3 else self._even()

    def _even(self) -> list[float]:
        # Less than about a decade: equal steps are the rounder ones.
        rough = (self.high - self.low) / _MOST_TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
        first = math.ceil(self.low / step)
        found = self._within((first + index) * step for index in range(_MOST_TICKS + 1))
        return found[:_MOST_TICKS]

    def _within(self, values: Iterable[float]) -> list[float]:
        # The tenth digit is rounding: 3 × 0.1 is 0.30000000000000004.
        rounded: Sequence[float] = [float(f"{value:.10g}") for value in values]
        return [value for value in rounded if self.low <= value <= self.high]
