"""Latency charts: the distribution of every configuration's samples, and latency by length.

The samples of a configuration are drawn as a strip: a histogram with its median and percentiles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from albert_edge.benchmark.format import format_count, format_metric, format_setting, format_tick
from albert_edge.benchmark.html.elements import (
    Axis,
    Element,
    bdi,
    chart,
    element,
    group_by_length,
    legend_key,
    marker,
    polyline,
    round_medians,
    series_class,
    vline,
)

_BINS = 200  # per strip: on a phone, where a strip is 350 pixels wide, about 2 pixels each


def sample_distributions(rows: list[dict[str, Any]]) -> Iterator[Element]:
    """Make the section with all samples, if there are any."""
    groups = group_by_length([row for row in rows if row["measured"] and row["unit"] == "ms"])
    if groups:
        yield element(
            "section",
            element("h2", "Every sample"),
            element("p", _STRIPS_NOTE, class_="note"),
            *(_strips(length, group) for length, group in groups.items()),
        )


_STRIPS_NOTE = (
    "All warm inferences of all rounds, on a logarithmic axis. Height: the number of samples (its "
    "square root, so that single samples are visible). The long line is the median, the short ones "
    "p90 and p99. The dots are the medians of the rounds: if they are apart, the machine was noisy."
)


def _strips(length: int, group: Sequence[Mapping[str, Any]]) -> Element:
    axis = Axis.fit([sample / 1e6 for row in group for sample in row["samples_ns"]])
    ticks = [
        element(
            "text", format_tick(tick), x=f"{axis.position(tick):g}%", y="1em", text_anchor="middle"
        )
        for tick in axis.ticks()
    ]
    return element(
        "figure",
        element("figcaption", f"{format_count(length, 'token')}: samples and median, ms"),
        element("ol", *(_strip(row, axis) for row in group), class_="strips"),
        element("svg", *ticks, class_="scale", aria_hidden="true"),
    )


def _strip(row: Mapping[str, Any], axis: Axis) -> Element:
    wrong = row["status"] == "wrong"
    description = (
        f"{format_count(row['n'], 'sample')}: "
        f"minimum {format_metric(row['latency_min_ms'])} ms, "
        f"median {format_metric(row['latency_ms'])} ms, "
        f"p90 {format_metric(row['latency_p90_ms'])} ms, "
        f"p99 {format_metric(row['latency_p99_ms'])} ms"
    )
    drawing = element(
        "svg",
        element("title", description),
        *(vline(axis.position(tick), class_="grid") for tick in axis.ticks()),
        _histogram(row, axis),
        *_percentile_lines(row, axis),
        class_="strip",
        role="img",
        aria_label=description,
    )
    return element(
        "li",
        element(
            "div",
            legend_key(row["series"]),
            " ",
            element("strong", "WRONG ", class_="bad") if wrong else None,
            bdi(row["label"]),
            element("span", f" {format_setting(row)}", class_="note"),
        ),
        drawing,
        element("div", format_metric(row["latency_ms"]), class_="number"),
        class_="wrong" if wrong else None,
    )


def _histogram(row: Mapping[str, Any], axis: Axis) -> Element:
    bins = Counter(
        min(int(axis.position(sample / 1e6) * _BINS / 100), _BINS - 1)
        for sample in row["samples_ns"]
    )
    largest = max(bins.values())
    bars = (
        f"M{index} 100v-{100 * math.sqrt(count / largest):.0f}h1V100z"
        for index, count in sorted(bins.items())
    )
    path = element("path", d="".join(bars), class_=series_class(row["series"]))
    view = f"0 0 {_BINS} 100"
    return element("svg", path, viewBox=view, preserveAspectRatio="none", height="75%")


def _percentile_lines(row: Mapping[str, Any], axis: Axis) -> Iterator[Element]:
    for name in ("latency_p90_ms", "latency_p99_ms"):
        yield vline(axis.position(row[name]), class_="percentile", top=40, bottom=75)
    yield vline(axis.position(row["latency_ms"]), class_="median", bottom=75)
    for median in round_medians(row):
        yield element("circle", cx=f"{axis.position(median):g}%", cy="90%", r="2.5", class_="round")


def latency_curves(rows: list[dict[str, Any]]) -> Iterator[Element]:
    """Make the section with latency, or instructions, by length, if there are several lengths."""
    measured = [row for row in rows if row["measured"]]
    lengths = sorted({row["seq_len"] for row in measured})
    if len(lengths) < 2:
        return
    axes = (
        Axis.fit(lengths),
        Axis.fit(value for row in measured for value in (row["cost"], *round_medians(row))),
    )
    counted = measured[0]["unit"] != "ms"
    by_setting: dict[str, list[dict[str, Any]]] = {}
    for row in measured:
        by_setting.setdefault(format_setting(row), []).append(row)
    series = {row["series"]: row["label"] for row in measured}
    yield element(
        "section",
        element("h2", "Instructions by length" if counted else "Latency by length"),
        element("p", _COUNTS_NOTE if counted else _CURVES_NOTE, class_="note"),
        element("ul", *_legend(series), class_="legend"),
        element(
            "div",
            *(_panel(name, group, lengths, axes) for name, group in by_setting.items()),
            class_="panels",
        ),
    )


_CURVES_NOTE = (
    "Medians, both axes logarithmic. Vertical lines show the range of the rounds' medians. "
    "Configurations with wrong outputs are crossed out."
)
_COUNTS_NOTE = (
    "Instructions of an inference, both axes logarithmic. Configurations with wrong outputs are "
    "crossed out."
)


def _legend(series: Mapping[int, str]) -> Iterator[Element]:
    for number, label in sorted(series.items()):
        yield element("li", legend_key(number), " ", bdi(label))


def _panel(
    name: str, rows: Sequence[Mapping[str, Any]], lengths: Sequence[int], axes: tuple[Axis, Axis]
) -> Element:
    x_axis, y_axis = axes
    lines: list[Element] = []
    markers: list[Element] = []
    for number in dict.fromkeys(row["series"] for row in rows):
        series = [row for row in rows if row["series"] == number]
        points = [
            (x_axis.position(row["seq_len"]), y_axis.position(row["cost"]))
            for row in series
            if row["status"] == "ok"
        ]
        lines.append(polyline(points, class_=series_class(number)))
        for row in series:
            x, y = x_axis.position(row["seq_len"]), y_axis.position(row["cost"])
            if medians := round_medians(row):
                ends = [(x, y_axis.position(end)) for end in (min(medians), max(medians))]
                lines.append(polyline(ends, class_=series_class(number)))
            cost = f"{format_metric(row['cost'])} {row['unit']}"
            tooltip = f"{row['label']}, {row['seq_len']} tokens: {cost}"
            markers.append(marker(number, x, y, tooltip=tooltip, wrong=row["status"] == "wrong"))
    what = "Median latency" if rows[0]["unit"] == "ms" else "Instructions"
    drawing = chart(
        lines + markers,
        x=("tokens", x_axis, lengths),
        y=("median, ms" if rows[0]["unit"] == "ms" else "M instructions", y_axis),
        description=f"{what} by number of tokens, {name}; the table contains the values.",
    )
    return element("figure", element("figcaption", name), drawing)
