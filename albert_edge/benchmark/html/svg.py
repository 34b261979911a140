"""Charts as inline SVG that fits any width, with logarithmic axes.

Positions are percentages of the drawing, so it stretches with the page while text and markers keep
their size; no script is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from albert_edge.benchmark.format import format_tick
from albert_edge.benchmark.html.elements import Element, element

__all__ = [
    "Axis",
    "chart",
    "legend_key",
    "marker",
    "marker_shapes",
    "polyline",
    "series_class",
    "vline",
]

# Five shapes and seven colours give 35 distinct series, none of them distinct by colour alone.
_SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "M-4.5 -4.5h9v9h-9z",
    "M0 -6l5.5 10h-11z",
    "M0 -6.3l6.3 6.3l-6.3 6.3l-6.3 -6.3z",
    "M0 6l5.5 -10h-11z",
)
_CROSS = "M-5 -5l10 10M-5 5l10 -10"
_COLOURS = 7
_MAX_TICKS = 6
_MIN_RANGE = 1.2  # high / low
# The leading digits of ticks to try, the densest first.
_TICK_DIGITS = ((1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,))


def series_class(number: int) -> str:
    """Return the CSS class with the colour of a series."""
    return f"c{number % _COLOURS}"


def marker_shapes() -> Element:
    """Define the shapes of the markers, once per page."""
    paths = [
        element("path", id=f"mark-{number}", d=path)
        for number, path in enumerate((*_SHAPES, _CROSS))
    ]
    return element("svg", element("defs", *paths), class_="defs", aria_hidden="true")


def legend_key(number: int) -> Element:
    """Make the marker of a series for a table or a legend."""
    mark = element("use", href=f"#mark-{number % len(_SHAPES)}", class_=series_class(number))
    return element("svg", mark, class_="key", viewBox="-8 -8 16 16", aria_hidden="true")


def marker(number: int, x: float, y: float, *, tooltip: str, wrong: bool = False) -> Element:
    """Make a marker of a series in a chart.

    Args:
        number: The number of the series.
        x: Its position in percent from the left.
        y: Its position in percent from the bottom.
        tooltip: The text shown when the pointer is on it.
        wrong: Whether to cross it out.
    """
    shape = len(_SHAPES) if wrong else number % len(_SHAPES)
    mark = element(
        "use",
        href=f"#mark-{shape}",
        x=f"{x:g}%",
        y=f"{100 - y:g}%",
        class_=f"{series_class(number)} crossed" if wrong else series_class(number),
    )
    return element("g", element("title", tooltip), mark)


def polyline(points: Iterable[tuple[float, float]], *, class_: str) -> Element:
    """Make a line through points in percent from the left and from the bottom."""
    path = " ".join(f"{x:g},{100 - y:g}" for x, y in points)
    drawn = element("polyline", points=path, class_=class_, vector_effect="non-scaling-stroke")
    return element("svg", drawn, viewBox="0 0 100 100", preserveAspectRatio="none")


def vline(x: float, *, class_: str, top: float = 0, bottom: float = 100) -> Element:
    """Make a vertical line; `x` is in percent from the left, `top` and `bottom` from the top."""
    at = f"{x:g}%"
    return element("line", x1=at, x2=at, y1=f"{top:g}%", y2=f"{bottom:g}%", class_=class_)


def chart(
    content: Sequence[Element],
    *,
    x: tuple[str, Axis, Sequence[float] | None],
    y: tuple[str, Axis],
    description: str,
) -> Element:
    """Make a chart with two axes.

    Args:
        content: Its content, made by `marker` and `polyline`.
        x: The name of the horizontal axis, the axis, and its ticks (None to choose them).
        y: The name of the vertical axis, and the axis.
        description: The chart's text for screen readers.
    """
    x_name, x_axis, x_ticks = x
    y_name, y_axis = y
    drawing = element(
        "svg",
        *_horizontal_ticks(x_axis, x_axis.ticks() if x_ticks is None else x_ticks),
        *_vertical_ticks(y_axis),
        *content,
        class_="plot",
        role="img",
        aria_label=description,
    )
    return element(
        "div",
        element("div", y_name, class_="y-name", aria_hidden="true"),
        drawing,
        element("div", x_name, class_="x-name", aria_hidden="true"),
        class_="chart",
    )


def _horizontal_ticks(axis: Axis, ticks: Sequence[float]) -> Iterable[Element]:
    for tick in ticks:
        x = f"{axis.position(tick):g}%"
        yield vline(axis.position(tick), class_="grid")
        yield element("text", format_tick(tick), x=x, y="100%", dy="1.4em", text_anchor="middle")


def _vertical_ticks(axis: Axis) -> Iterable[Element]:
    for tick in axis.ticks():
        y = f"{100 - axis.position(tick):g}%"
        yield element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid")
        yield element("text", format_tick(tick), x="-6", y=y, dy="0.35em", text_anchor="end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A logarithmic axis.

    Attributes:
        low: The value at its start, above 0.
        high: The value at its end, above `low`.
    """

    low: float
    high: float

    @classmethod
    def fit(cls, values: Iterable[float], *, margin: float = 0.04) -> Axis:
        """Make an axis that contains all values; those not above 0 are at its low end.

        Args:
            values: The values, at least one.
            margin: The proportion of its length to leave free at both ends.

        Example:
            >>> axis = Axis.fit([1, 100], margin=0)
            >>> axis.position(10), axis.ticks()
            (50.0, [1.0, 3.0, 10.0, 30.0, 100.0])
        """
        positive = [value for value in values if value > 0] or [1.0]
        low, high = min(positive), max(positive)
        # Values that are nearly equal must look so, not fill the axis with their last digits.
        if high / low < _MIN_RANGE:
            middle = math.sqrt(low) * math.sqrt(high)
            low, high = middle / math.sqrt(_MIN_RANGE), middle * math.sqrt(_MIN_RANGE)
        padding = (high / low) ** margin
        return cls(low=low / padding, high=high * padding)

    def position(self, value: float) -> float:
        """Return the position of a value on the axis, in percent, [0, 100]."""
        if value <= self.low:
            return 0.0
        percent = 100 * math.log(value / self.low) / math.log(self.high / self.low)
        return round(min(percent, 100.0), 2)

    def ticks(self) -> list[float]:
        """Return round values on the axis, at most six."""
        low_power, high_power = (math.floor(math.log10(end)) for end in (self.low, self.high))
        powers = range(low_power, high_power + 1)
        for digits in _TICK_DIGITS:
            ticks = self._within(digit * 10.0**power for power in powers for digit in digits)
            if len(ticks) <= _MAX_TICKS:
                break
        if len(ticks) > _MAX_TICKS:
            ticks = ticks[:: math.ceil(len(ticks) / _MAX_TICKS)]
        return ticks if len(ticks) >= 3 else self._linear_ticks()

    def _linear_ticks(self) -> list[float]:
        # On less than about a decade, equal steps give rounder values.
        min_step = (self.high - self.low) / _MAX_TICKS
        power = 10.0 ** math.floor(math.log10(min_step))
        step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= min_step)
        first = math.ceil(self.low / step)
        ticks = self._within((first + index) * step for index in range(_MAX_TICKS + 1))
        return ticks[:_MAX_TICKS]

    def _within(self, values: Iterable[float]) -> list[float]:
        # Remove rounding errors: 3 × 0.1 is 0.30000000000000004.
        rounded: Sequence[float] = [float(f"{value:.10g}") for value in values]
        return [value for value in rounded if self.low <= value <= self.high]
