"""What figures are drawn of: inline SVG that fits any width.

Places are hundredths of the drawing, so it stretches with the page while letters and marks keep
their size; no script is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from albert_edge.benchmark.page.axis import Axis
from albert_edge.benchmark.page.markup import Element, element
from albert_edge.benchmark.words import round_figure

__all__ = ["chart", "dot", "key", "line", "shapes", "style_of", "upright"]

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


def key(number: int) -> Element:
    """Make the mark of the series of this number, for a table or a legend."""
    mark = element("use", href=f"#mark-{number % len(_SHAPES)}", class_=style_of(number))
    return element("svg", mark, class_="key", viewBox="-8 -8 16 16", aria_hidden="true")


def dot(number: int, x: float, y: float, *, tells: str, wrong: bool = False) -> Element:
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


def line(points: Iterable[tuple[float, float]], *, class_: str) -> Element:
    """Make a line through places in hundredths from the left and from below."""
    path = " ".join(f"{x:g},{100 - y:g}" for x, y in points)
    drawn = element("polyline", points=path, class_=class_, vector_effect="non-scaling-stroke")
    return element("svg", drawn, viewBox="0 0 100 100", preserveAspectRatio="none")


def upright(x: float, *, class_: str, top: float = 0, foot: float = 100) -> Element:
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
        yield upright(axis.at(tick), class_="grid")
        yield element("text", round_figure(tick), x=x, y="100%", dy="1.4em", text_anchor="middle")


def _along(axis: Axis) -> Iterable[Element]:
    for tick in axis.ticks():
        y = f"{100 - axis.at(tick):g}%"
        yield element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid")
        yield element("text", round_figure(tick), x="-6", y=y, dy="0.35em", text_anchor="end")
