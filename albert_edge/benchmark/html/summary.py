"""The summary of the page: the fastest configurations, failures and warnings.

It comes first; the sections about wrong outputs, failures and warnings give the details.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from albert_edge.benchmark.compare import ratio_of_rounds
from albert_edge.benchmark.format import (
    format_count,
    format_metric,
    format_percent,
    format_ratio,
    format_setting,
)
from albert_edge.benchmark.html.elements import (
    Element,
    bdi,
    element,
    group_by_length,
    round_medians,
)
from albert_edge.benchmark.statistics import WARNING_CODES

_NOISE = {"same": "within the noise", "better": "beyond the noise", "unknown": "one round only"}


def summary(report: Mapping[str, Any], rows: list[dict[str, Any]]) -> Element:
    """Make the section with the fastest configuration of every length, and the alerts."""
    cards = [_card(length, group) for length, group in group_by_length(rows).items()]
    return element(
        "section",
        element("h2", f"{_first(rows)} with correct outputs"),
        element("div", *cards, class_="cards"),
        *_alerts(report, rows),
    )


def _first(rows: Sequence[Mapping[str, Any]]) -> str:
    counted = any(row["unit"] != "ms" for row in rows)
    return "Fewest instructions" if counted else "Fastest"


def _card(length: int, group: Sequence[Mapping[str, Any]]) -> Element:
    correct = [row for row in group if row["status"] == "ok"]
    heading = element("h3", format_count(length, "token"))
    if not correct:
        return element("div", heading, element("p", "none"), class_="card bad")
    best, *others = correct
    name = element("p", element("b", bdi(best["label"])), f", {format_setting(best)}")
    unit = element("small", f" {best['unit']}")
    cost = element("p", format_metric(best["cost"]), unit, class_="big")
    return element("div", heading, cost, name, *_runner_up(best, others[:1]), class_="card")


def _runner_up(best: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    for other in others:
        ratio = other["cost"] / best["cost"]
        change = ratio_of_rounds(round_medians(other), round_medians(best), ratio=1 / ratio)
        noise = f" ({_NOISE.get(change.verdict, '')})" if change else ""
        text = f", {format_setting(other)}: {format_ratio(ratio)}{noise}"
        yield element("p", "then ", bdi(other["label"]), text, class_="note")


def _alerts(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    states = Counter(row["status"] for row in rows)
    total = format_count(len(rows), "configuration")
    if not report["complete"]:
        text = (
            f"The run is not complete: {states['pending']} of {total} not measured yet, and others "
            "possibly in fewer rounds."
        )
        yield element("p", text, class_="alert bad")
    for status, title in (("wrong", "WRONG outputs"), ("error", "Failed")):
        if states[status]:
            labels = dict.fromkeys(row["label"] for row in rows if row["status"] == status)
            count = element("b", f"{title}: {states[status]} of {total}")
            link = element("a", "details", href=f"#{status}")
            names = _comma_separated(labels)
            yield element("p", count, ", not ranked: ", *names, " (", link, ")", class_="alert bad")
    warned = [row for row in rows if row["warnings"]]
    if warned:
        codes = Counter(warning["code"] for row in warned for warning in row["warnings"])
        text = ", ".join(f"{code} {codes[code]}" for code in sorted(codes))
        count = element("b", f"Warnings: {len(warned)} of {total}")
        link = element("a", "details", href="#warnings")
        yield element("p", count, f": {text} (", link, ")", class_="alert warning")


def _comma_separated(names: Iterable[str]) -> Iterator[Element | str]:
    for number, name in enumerate(names):
        yield ", " if number else ""
        yield bdi(name)


def failures(rows: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    """Make the sections about wrong outputs and about failures, if there are any."""
    wrong = [row for row in rows if row["status"] == "wrong"]
    if wrong:
        yield element(
            "section",
            element("h2", "Wrong outputs", id="wrong"),
            element(
                "p",
                "The error against the reference exceeds what the recipe allows; not ranked.",
            ),
            *(_wrong_outputs(row) for row in wrong),
            class_="apart",
        )
    reasons: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row["error"] is not None:
            reason = row["label"], row["error"]["type"], row["error"]["message"]
            reasons[reason].append(
                f"{format_count(row['seq_len'], 'token')}, {format_setting(row)}"
            )
    if reasons:
        counts = Counter(row["label"] for row in rows)
        lines = [_failure(reason, where, counts[reason[0]]) for reason, where in reasons.items()]
        heading = element("h2", "Failed", id="error")
        yield element("section", heading, *lines, class_="apart")


def _wrong_outputs(row: Mapping[str, Any]) -> Element:
    fidelity = row["fidelity"]
    errors = [
        f"error of {name} {'not finite' if one['error'] is None else format_percent(one['error'])}"
        for name, one in fidelity["outputs"].items()
    ]
    text = (
        f", {format_count(row['seq_len'], 'token')}, {format_setting(row)}: {', '.join(errors)}; "
        f"the recipe {row['quantize']} allows {format_percent(fidelity['limit'])} against "
    )
    reference = bdi(fidelity["reference"]["name"])
    same = f"; {format_percent(fidelity['agreement'])} of the argmaxes are the same"
    end = "." if fidelity["agreement"] is None else f"{same}."
    what = "Median latency" if row["unit"] == "ms" else "An inference"
    cost = f" {what}: {format_metric(row['cost'])} {row['unit']}."
    return element("p", element("b", bdi(row["label"])), text, reference, end, cost)


def _failure(reason: tuple[str, str, str], where: Sequence[str], count: int) -> Element:
    name, kind, message = reason
    text = f"all {count} configurations" if len(where) == count > 1 else "; ".join(where)
    note = element("span", f" {text}", class_="note")
    error = element("code", f"{kind}: {message}")
    return element("p", element("b", bdi(name)), note, element("br"), error)


def warnings_section(rows: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    """Make the section with the message of every warning, if there are any."""
    by_code: dict[str, list[Element]] = defaultdict(list)
    for row in rows:
        where = f", {format_count(row['seq_len'], 'token')}, {format_setting(row)}: "
        for warning in row["warnings"]:
            line = element("li", bdi(row["label"]), where + warning["message"])
            by_code[warning["code"]].append(line)
    if by_code:
        heading = element("h2", "Warnings", id="warnings")
        yield element("section", heading, *(_warning(*item) for item in by_code.items()))


def _warning(code: str, lines: Sequence[Element]) -> Element:
    meaning = f": {WARNING_CODES.get(code, '')} ({format_count(len(lines), 'configuration')})"
    summary = element("summary", element("b", code), meaning)
    return element("details", summary, element("ul", *lines), open="" if len(lines) <= 8 else None)
