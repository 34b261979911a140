"""What figures are drawn of: inline SVG that fits any width.

Places are hundredths of the drawing, so it stretches with the page while letters and marks keep
their size; no script is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from albert_edge.benchmark.format import round_significant
from albert_edge.benchmark.html.elements import Element, element

__all__ = ["Axis", "chart", "legend_key", "marker", "polyline", "shapes", "style_of", "vline"]

# Five shapes and seven colours come to 35 kinds before one comes again; none needs colour alone.
_SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "M-4.5 -4.5h9v9h-9z",
    "M0 -6l5.5 10h-11z",
    "M0 -6.3l6.3 6.3l-6.3 6.3l-6.3 -6.3z",
    "M0 6l5.5 -10h-11z",
)
_CROSS = "M-5 -5l10 10M-5 5l10 -10"
_COLOURS = 7
_MOST_TICKS = 6
# The digits to try, the densest first.
_STEPS = ((1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,))


def style_of(number: int) -> str:
    """Return the class that gives the series of this number its colour."""
    return f"c{number % _COLOURS}"


def shapes() -> Element:
    """Make the marks, once a page, for others to use."""
    marks = [
        element("path", id=f"mark-{number}", d=path)
        for number, path in enumerate((*_SHAPES, _CROSS))
    ]
    return element("svg", element("defs", *marks), class_="defs", aria_hidden="true")


def legend_key(number: int) -> Element:
    """Make the mark of the series of this number, for a table or a legend."""
    mark = element("use", href=f"#mark-{number % len(_SHAPES)}", class_=style_of(number))
    return element("svg", mark, class_="key", viewBox="-8 -8 16 16", aria_hidden="true")


def marker(number: int, x: float, y: float, *, tells: str, wrong: bool = False) -> Element:
    """Make a mark of a series.

    Args:
        number: The series.
        x: Its place in hundredths from the left.
        y: In hundredths from below.
        tells: What a pointer that rests on it is told.
        wrong: Whether to cross it out.
    """
    shape = len(_SHAPES) if wrong else number % len(_SHAPES)
    mark = element(
        "use",
        href=f"#mark-{shape}",
        x=f"{x:g}%",
        y=f"{100 - y:g}%",
        class_=f"{style_of(number)} crossed" if wrong else style_of(number),
    )
    return element("g", element("title", tells), mark)


def polyline(points: Iterable[tuple[float, float]], *, class_: str) -> Element:
    """Make a line through places in hundredths from the left and from below."""
    path = " ".join(f"{x:g},{100 - y:g}" for x, y in points)
    drawn = element("polyline", points=path, class_=class_, vector_effect="non-scaling-stroke")
    return element("svg", drawn, viewBox="0 0 100 100", preserveAspectRatio="none")


def vline(x: float, *, class_: str, top: float = 0, foot: float = 100) -> Element:
    """Make an upright line; `x` is hundredths from the left, `top` and `foot` are from above."""
    at = f"{x:g}%"
    return element("line", x1=at, x2=at, y1=f"{top:g}%", y2=f"{foot:g}%", class_=class_)


def chart(
    content: Sequence[Element],
    *,
    x: tuple[str, Axis, Sequence[float] | None],
    y: tuple[str, Axis],
    tells: str,
) -> Element:
    """Make a chart: its axes around what it shows.

    Args:
        content: What it shows, made by `dot` and `line`.
        x: The name of the axis, where figures lie on it, and the ones to write (None for any).
        y: The name and the axis.
        tells: What it shows, for who cannot see it.
    """
    x_name, x_axis, x_ticks = x
    y_name, y_axis = y
    drawing = element(
        "svg",
        *_across(x_axis, x_axis.ticks() if x_ticks is None else x_ticks),
        *_along(y_axis),
        *content,
        class_="plot",
        role="img",
        aria_label=tells,
    )
    return element(
        "div",
        element("div", y_name, class_="y-name", aria_hidden="true"),
        drawing,
        element("div", x_name, class_="x-name", aria_hidden="true"),
        class_="chart",
    )


def _across(axis: Axis, ticks: Sequence[float]) -> Iterable[Element]:
    for tick in ticks:
        x = f"{axis.at(tick):g}%"
        yield vline(axis.at(tick), class_="grid")
        yield element(
            "text", round_significant(tick), x=x, y="100%", dy="1.4em", text_anchor="middle"
        )


def _along(axis: Axis) -> Iterable[Element]:
    for tick in axis.ticks():
        y = f"{100 - axis.at(tick):g}%"
        yield element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid")
        yield element("text", round_significant(tick), x="-6", y=y, dy="0.35em", text_anchor="end")


# Where a figure lies on an axis, and which round figures to write beside it.


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
