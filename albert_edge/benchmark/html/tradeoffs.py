"""Trade-off charts: size, memory and latency against error, with the Pareto front.

A file is on the front if no other file is better in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from albert_edge.benchmark.format import format_count, format_metric, format_percent
from albert_edge.benchmark.html.elements import (
    Axis,
    Element,
    bdi,
    chart,
    element,
    legend_key,
    marker,
    polyline,
    scrollable,
)
from albert_edge.benchmark.statistics import float32_error

__all__ = ["File", "charts_and_table", "pareto_front"]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file, summarized over its configurations; None for an unknown value.

    Attributes:
        series: The number of its marker.
        label: Its name.
        wrong: Whether its outputs are wrong.
        error: Its largest error.
        costs: One for every panel.
    """

    series: int
    label: str
    wrong: bool
    error: float | None
    costs: tuple[float | None, ...]

    @property
    def shown(self) -> bool:
        return self.error is not None and any(cost is not None for cost in self.costs)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other point dominates: as low in both values, lower in one.

    Example:
        >>> pareto_front([(1, 9), (2, 5), (3, 6), (4, 1)])
        [(1, 9), (2, 5), (4, 1)]
    """
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(points)):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front


def tradeoffs(rows: list[dict[str, Any]]) -> Iterator[Element]:
    """Make the section with the Pareto fronts, if at least two files have an error."""
    measured = [row for row in rows if row["measured"]]
    if not measured:
        return
    length = max(row["seq_len"] for row in measured)
    median = f"median of {format_count(length, 'token')}, ms"
    counted = f"inference of {format_count(length, 'token')}, M instructions"
    panels = ("file, MB", "RAM, MB", median if measured[0]["unit"] == "ms" else counted)
    files = [_summarize(measured, number, length) for number in {row["series"] for row in measured}]
    shown = [file for file in files if file.shown]
    if len(shown) < 2:
        return
    yield element(
        "section",
        element("h2", "Cost of accuracy"),
        element("p", _NOTE, class_="note"),
        *charts_and_table(panels, shown),
    )


def charts_and_table(panels: Sequence[str], files: Sequence[File]) -> Iterator[Element]:
    """Make a chart of the error against every cost, and the table of the values.

    Args:
        panels: The names of the costs, with their units, such as "file, MB".
        files: The files, each with as many costs.
    """
    charts = [
        _panel(name, column, files)
        for column, name in enumerate(panels)
        if any(file.costs[column] is not None for file in files)
    ]
    yield element("div", *charts, class_="panels")
    yield scrollable(_table(panels, files), name="Cost of accuracy")


_NOTE = (
    "Lower left is better. No file is better in both than a file on the line, the Pareto front. "
    "Error: of the worst output against float32; error and RAM are the maximum over all "
    "configurations, the last figure is the minimum. A file with wrong outputs is crossed out and "
    "not on the front."
)


def _summarize(rows: Sequence[Mapping[str, Any]], number: int, length: int) -> File:
    own = [row for row in rows if row["series"] == number]
    errors = [error for row in own if (error := float32_error(row)) is not None]
    memory = [one for row in own if (one := row.get("model_rss_bytes")) is not None]
    times = [row["cost"] for row in own if row["seq_len"] == length]
    size = own[0]["size_bytes"]
    return File(
        series=number,
        label=own[0]["label"],
        wrong=any(row["status"] == "wrong" for row in own),
        error=max(errors, default=None),
        costs=(
            None if size is None else size / 1e6,
            max(memory) / 1e6 if memory else None,
            min(times, default=None),
        ),
    )


def _points(column: int, files: Sequence[File]) -> Iterator[tuple[File, float, float]]:
    for file in files:
        cost = file.costs[column]
        if cost is not None and file.error is not None:
            yield file, cost, file.error


def _front(column: int, files: Sequence[File]) -> list[tuple[float, float]]:
    correct = [file for file in files if not file.wrong]
    return pareto_front([(x, y) for _, x, y in _points(column, correct)])


def _panel(name: str, column: int, files: Sequence[File]) -> Element:
    points = list(_points(column, files))
    x_axis = Axis.fit((x for _, x, _ in points), margin=0.1)
    y_axis = Axis.fit((100 * y for _, _, y in points), margin=0.1)
    steps: list[tuple[float, float]] = []
    height = 100.0
    for x, y in _front(column, files):
        left = x_axis.position(x)
        steps += [(left, height), (left, height := y_axis.position(100 * y))]
    lines = [polyline([*steps, (100.0, height)], class_="front")] if steps else []
    markers = [
        marker(
            file.series,
            x_axis.position(x),
            y_axis.position(100 * y),
            tooltip=f"{file.label}: {name} {format_metric(x)}, error {format_percent(y)}",
            wrong=file.wrong,
        )
        for file, x, y in points
    ]
    drawing = chart(
        lines + markers,
        x=(name, x_axis, None),
        y=("error, %", y_axis),
        description=f"Error against {name}; the table below contains the values.",
    )
    return element(
        "figure", element("figcaption", f"{name.partition(',')[0]} against error"), drawing
    )


def _table(panels: Sequence[str], files: Sequence[File]) -> Element:
    names = ["file", "error", *panels]
    fronts = [_front(column, files) for column in range(len(panels))]
    lines = []
    for file in files:
        cells = [format_percent(file.error)]
        for cost, front in zip(file.costs, fronts, strict=True):
            on_front = not file.wrong and (cost, file.error) in front
            cells.append(f"{format_metric(cost)}{' ◂ front' if on_front else ''}")
        wrong = element("strong", "WRONG ", class_="bad") if file.wrong else None
        name = element("th", legend_key(file.series), " ", wrong, bdi(file.label), scope="row")
        lines.append(element("tr", name, *(element("td", cell, class_="number") for cell in cells)))
    classes = [None, *["number"] * (len(names) - 1)]
    heads = [
        element("th", name, scope="col", class_=class_)
        for name, class_ in zip(names, classes, strict=True)
    ]
    return element("table", element("thead", element("tr", *heads)), element("tbody", *lines))
