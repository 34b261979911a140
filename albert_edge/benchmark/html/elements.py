"""HTML elements whose text cannot become markup, and the rows of a report for the page.

`prepare_rows` labels, numbers and sorts the rows; every section of the page takes its result.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, tostring

from albert_edge.benchmark.format import format_tick
from albert_edge.benchmark.statistics import inference_cost

__all__ = ["Element"]

Child = Element | str | None
_MEASURED = ("ok", "wrong")
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


def element(tag: str, *children: Child, **attributes: Any) -> Element:
    """Make an element.

    Args:
        tag: The tag.
        children: Elements, texts (which are escaped), and None, which is skipped.
        attributes: The attributes by name: `class_` is `class`, `aria_label` is `aria-label`, and
            None is skipped.

    Example:
        >>> serialize(element("p", "a < b ", element("b", "&"), class_="note"))
        '<p class="note">a &lt; b <b>&amp;</b></p>'
    """
    known = {name: value for name, value in attributes.items() if value is not None}
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(known[name]) for name in known})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child:
            made.text = (made.text or "") + child
    return made


def bdi(text: str) -> Element:
    """Isolate the writing direction of a text that someone else chose, such as a file name."""
    return element("bdi", text)


def scrollable(table: Element, *, name: str) -> Element:
    """Make a table scroll sideways if it is wider than the page, by keyboard too."""
    return element("div", table, class_="wide", role="region", aria_label=name, tabindex="0")


def serialize(root: Element) -> str:
    """Return the HTML of an element and its descendants."""
    text: str = tostring(root, encoding="unicode", method="html")
    return text


def prepare_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Label the rows of a report and sort them, the fastest of every length first.

    Returns:
        Copies of the rows with a `label` (the name, with the layout where a name has several), the
        number of the `series` in charts (one per label, from 0), `measured`, and the `cost` of an
        inference in its `unit`: ms, or millions of instructions on an emulated processor.
    """
    rows = report["rows"]
    layouts: dict[str, set[Any]] = defaultdict(set)
    for row in rows:
        layouts[row["name"]].add(row["layout"])
    labels = [
        row["name"] if len(layouts[row["name"]]) == 1 else f"{row['name']}, {row['layout']}"
        for row in rows
    ]
    series = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    # A row that failed in a later round has metrics of earlier ones; it does not count as measured.
    labelled = [
        {
            **row,
            "label": label,
            "series": series[label],
            "measured": row["status"] in _MEASURED,
            "cost": inference_cost(row),
            "unit": "M instructions" if "instructions_inference" in row else "ms",
        }
        for row, label in zip(rows, labels, strict=True)
    ]
    return sorted(labelled, key=_sort_key)


def group_by_length(rows: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Group rows by their number of tokens, in order."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["seq_len"], []).append(row)
    return groups


def round_medians(row: Mapping[str, Any]) -> list[float]:
    """Return the median of each round in ms; empty for a report without rounds."""
    return [one["latency_ms"] for one in row.get("rounds", [])]


def _sort_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    status = ("ok", "wrong", "error", "pending").index(row["status"])
    return row["seq_len"], status, row["cost"] or 0, row["series"], row["threads"]


# Charts as inline SVG that fits any width, with logarithmic axes.
#
# Positions are percentages of the drawing, so it stretches with the page while text and markers
# keep their size; no script is needed.


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
