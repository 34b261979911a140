"""Latency drawn: every sample of every configuration, and against the sequence length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from albert_edge.benchmark.format import format_count, format_figure, round_significant
from albert_edge.benchmark.html.elements import Element, bdi, by_length, element, medians, setting
from albert_edge.benchmark.html.svg import (
    Axis,
    chart,
    legend_key,
    marker,
    polyline,
    style_of,
    vline,
)

__all__ = ["curves", "distributions"]

_BINS = 200  # of a strip: on a telephone, where it is 350 pixels wide, 2 pixels each


def distributions(rows: list[dict[str, Any]]) -> Iterator[Element]:
    """Make the section with all samples, where there are any."""
    groups = by_length([row for row in rows if row["measured"]])
    if groups:
        yield element(
            "section",
            element("h2", "Every sample"),
            element("p", _STRIPS, class_="note"),
            *(_strips(length, group) for length, group in groups.items()),
        )


_STRIPS = (
    "All warm inferences of all rounds, on a logarithmic axis. Height: how many took so long (the "
    "square root, so that one alone shows). The long line is the median, the short ones p90 and "
    "p99. The dots are the medians of the rounds: where they lie apart, the machine was noisy."
)


def _strips(length: int, group: Sequence[Mapping[str, Any]]) -> Element:
    axis = Axis.around([sample / 1e6 for row in group for sample in row["samples_ns"]])
    ticks = [
        element(
            "text", round_significant(tick), x=f"{axis.at(tick):g}%", y="1em", text_anchor="middle"
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
    words = (
        f"{format_count(row['n'], 'sample')}: "
        f"minimum {format_figure(row['latency_min_ms'])} ms, "
        f"median {format_figure(row['latency_ms'])} ms, "
        f"p90 {format_figure(row['latency_p90_ms'])} ms, "
        f"p99 {format_figure(row['latency_p99_ms'])} ms"
    )
    drawing = element(
        "svg",
        element("title", words),
        *(vline(axis.at(tick), class_="grid") for tick in axis.ticks()),
        _histogram(row, axis),
        *_marks(row, axis),
        class_="strip",
        role="img",
        aria_label=words,
    )
    return element(
        "li",
        element(
            "div",
            legend_key(row["series"]),
            " ",
            element("strong", "WRONG ", class_="bad") if wrong else None,
            bdi(row["label"]),
            element("span", f" {setting(row)}", class_="note"),
        ),
        drawing,
        element("div", format_figure(row["latency_ms"]), class_="number"),
        class_="wrong" if wrong else None,
    )


def _histogram(row: Mapping[str, Any], axis: Axis) -> Element:
    bins = Counter(
        min(int(axis.at(sample / 1e6) * _BINS / 100), _BINS - 1) for sample in row["samples_ns"]
    )
    most = max(bins.values())
    bars = (
        f"M{place} 100v-{100 * math.sqrt(count / most):.0f}h1V100z"
        for place, count in sorted(bins.items())
    )
    path = element("path", d="".join(bars), class_=style_of(row["series"]))
    view = f"0 0 {_BINS} 100"
    return element("svg", path, viewBox=view, preserveAspectRatio="none", height="75%")


def _marks(row: Mapping[str, Any], axis: Axis) -> Iterator[Element]:
    for name in ("latency_p90_ms", "latency_p99_ms"):
        yield vline(axis.at(row[name]), class_="percentile", top=40, foot=75)
    yield vline(axis.at(row["latency_ms"]), class_="median", foot=75)
    for median in medians(row):
        yield element("circle", cx=f"{axis.at(median):g}%", cy="90%", r="2.5", class_="round")


def curves(rows: list[dict[str, Any]]) -> Iterator[Element]:
    """Make the section with latency against the sequence length, where there are several."""
    drawn = [row for row in rows if row["measured"]]
    lengths = sorted({row["seq_len"] for row in drawn})
    if len(lengths) < 2:
        return
    axes = (
        Axis.around(lengths),
        Axis.around(value for row in drawn for value in (row["latency_ms"], *medians(row))),
    )
    panels = dict.fromkeys(setting(row) for row in drawn)
    series = {row["series"]: row["label"] for row in drawn}
    yield element(
        "section",
        element("h2", "Latency against length"),
        element("p", _CURVES, class_="note"),
        element("ul", *_legend(series), class_="legend"),
        element(
            "div",
            *(
                _panel(name, [row for row in drawn if setting(row) == name], lengths, axes)
                for name in panels
            ),
            class_="panels",
        ),
    )


_CURVES = (
    "Medians, both axes logarithmic; the upright lines reach from the least to the greatest median "
    "of a round. A wrong answer is crossed out."
)


def _legend(series: Mapping[int, str]) -> Iterator[Element]:
    for number, label in sorted(series.items()):
        yield element("li", legend_key(number), " ", bdi(label))


def _panel(
    name: str, rows: Sequence[Mapping[str, Any]], lengths: Sequence[int], axes: tuple[Axis, Axis]
) -> Element:
    across, along = axes
    lines: list[Element] = []
    dots: list[Element] = []
    for number in dict.fromkeys(row["series"] for row in rows):
        of_one = [row for row in rows if row["series"] == number]
        places = [
            (across.at(row["seq_len"]), along.at(row["latency_ms"]))
            for row in of_one
            if row["status"] == "ok"
        ]
        lines.append(polyline(places, class_=style_of(number)))
        for row in of_one:
            x, y = across.at(row["seq_len"]), along.at(row["latency_ms"])
            if ends := medians(row):
                reach = [(x, along.at(end)) for end in (min(ends), max(ends))]
                lines.append(polyline(reach, class_=style_of(number)))
            tells = (
                f"{row['label']}, {row['seq_len']} tokens: {format_figure(row['latency_ms'])} ms"
            )
            dots.append(marker(number, x, y, tells=tells, wrong=row["status"] == "wrong"))
    drawing = chart(
        lines + dots,
        x=("tokens", across, lengths),
        y=("median, ms", along),
        tells=f"Median latency against the number of tokens, {name}; the table has the figures.",
    )
    return element("figure", element("figcaption", name), drawing)
