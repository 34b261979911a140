"""Size, memory and time against error: which files no other one beats in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from albert_edge.benchmark.format import format_count, format_figure, format_percent
from albert_edge.benchmark.html.elements import Element, bdi, element
from albert_edge.benchmark.html.svg import Axis, chart, legend_key, marker, polyline
from albert_edge.benchmark.html.tables import scrolling
from albert_edge.benchmark.statistics import float32_error

__all__ = ["pareto_front", "tradeoffs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file over all its configurations; what no configuration tells is None."""

    series: int
    label: str
    wrong: bool
    error: float | None  # the largest
    costs: tuple[float | None, ...]  # one a panel

    @property
    def shown(self) -> bool:
        return self.error is not None and any(cost is not None for cost in self.costs)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other one is as good as in both figures and better in one.

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
    """Make the section with the Pareto fronts, where at least two files have an error."""
    measured = [row for row in rows if row["measured"]]
    if not measured:
        return
    length = max(row["seq_len"] for row in measured)
    panels = ("file, MB", "RAM, MB", f"median of {format_count(length, 'token')}, ms")
    files = [_summed(measured, number, length) for number in {row["series"] for row in measured}]
    shown = [file for file in files if file.shown]
    if len(shown) < 2:
        return
    figures = [_panel(name, column, shown) for column, name in enumerate(panels)]
    yield element(
        "section",
        element("h2", "What exactness costs"),
        element("p", _EXPLAINED, class_="note"),
        element("div", *figures, class_="panels"),
        scrolling(_table(panels, shown), name="What exactness costs"),
    )


_EXPLAINED = (
    "Lower left is better. The line is the Pareto front: no file is better in both than one on it. "
    "Error: the worst output's against float32, the largest of all configurations; RAM: the most "
    "of them; time: the least. A file with a wrong answer is crossed out and not on the front."
)


def _summed(rows: Sequence[Mapping[str, Any]], number: int, length: int) -> _File:
    own = [row for row in rows if row["series"] == number]
    errors = [error for row in own if (error := float32_error(row)) is not None]
    memory = [row["model_rss_bytes"] for row in own if row["model_rss_bytes"] is not None]
    times = [row["latency_ms"] for row in own if row["seq_len"] == length]
    size = own[0]["size_bytes"]
    return _File(
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


def _points(column: int, files: Sequence[_File]) -> Iterator[tuple[_File, float, float]]:
    for file in files:
        cost = file.costs[column]
        if cost is not None and file.error is not None:
            yield file, cost, file.error


def _front(column: int, files: Sequence[_File]) -> list[tuple[float, float]]:
    right = [file for file in files if not file.wrong]
    return pareto_front([(x, y) for _, x, y in _points(column, right)])


def _panel(name: str, column: int, files: Sequence[_File]) -> Element:
    points = list(_points(column, files))
    across = Axis.around((x for _, x, _ in points), margin=0.1)
    along = Axis.around((100 * y for _, _, y in points), margin=0.1)
    stairs: list[tuple[float, float]] = []
    height = 100.0
    for x, y in _front(column, files):
        at = across.at(x)
        stairs += [(at, height), (at, height := along.at(100 * y))]
    lines = [polyline([*stairs, (100.0, height)], class_="front")] if stairs else []
    dots = [
        marker(
            file.series,
            across.at(x),
            along.at(100 * y),
            tells=f"{file.label}: {name} {format_figure(x)}, error {format_percent(y)}",
            wrong=file.wrong,
        )
        for file, x, y in points
    ]
    drawing = chart(
        lines + dots,
        x=(name, across, None),
        y=("error, %", along),
        tells=f"Error against {name}; the table below has the figures.",
    )
    return element(
        "figure", element("figcaption", f"{name.partition(',')[0]} against error"), drawing
    )


def _table(panels: Sequence[str], files: Sequence[_File]) -> Element:
    names = ["file", "error", *panels]
    fronts = [_front(column, files) for column in range(len(panels))]
    lines = []
    for file in files:
        cells = [format_percent(file.error)]
        for cost, front in zip(file.costs, fronts, strict=True):
            on = not file.wrong and (cost, file.error) in front
            cells.append(f"{format_figure(cost)}{' ◂ front' if on else ''}")
        wrong = element("strong", "WRONG ", class_="bad") if file.wrong else None
        name = element("th", legend_key(file.series), " ", wrong, bdi(file.label), scope="row")
        lines.append(element("tr", name, *(element("td", cell, class_="number") for cell in cells)))
    kinds = [None, *["number"] * (len(names) - 1)]
    heads = [
        element("th", name, scope="col", class_=kind)
        for name, kind in zip(names, kinds, strict=True)
    ]
    return element("table", element("thead", element("tr", *heads)), element("tbody", *lines))
