"""What a reader wants to know first: the fastest that is right, and what is amiss."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from albert_edge.benchmark.compare import ratio_of_rounds
from albert_edge.benchmark.format import format_count, format_figure, format_percent, format_ratio
from albert_edge.benchmark.html.elements import Element, bdi, by_length, element, medians, setting
from albert_edge.benchmark.statistics import WARNING_CODES

__all__ = ["failures", "summary", "warnings_section"]

_NOISE = {"same": "within the noise", "better": "beyond the noise", "unknown": "measured only once"}


def summary(document: Mapping[str, Any], rows: list[dict[str, Any]]) -> Element:
    """Make the section that comes first."""
    cards = [_card(length, group) for length, group in by_length(rows).items()]
    return element(
        "section",
        element("h2", "Fastest right answer"),
        element("div", *cards, class_="cards"),
        *_alerts(document, rows),
    )


def _card(length: int, group: Sequence[Mapping[str, Any]]) -> Element:
    right = [row for row in group if row["status"] == "ok"]
    heading = element("h3", format_count(length, "token"))
    if not right:
        return element("div", heading, element("p", "none"), class_="card bad")
    best, *others = right
    name = element("p", element("b", bdi(best["label"])), f", {setting(best)}")
    time = element("p", format_figure(best["latency_ms"]), element("small", " ms"), class_="big")
    return element("div", heading, time, name, *_next(best, others[:1]), class_="card")


def _next(best: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    for other in others:
        ratio = other["latency_ms"] / best["latency_ms"]
        found = ratio_of_rounds(medians(other), medians(best), ratio=1 / ratio)
        noise = f" ({_NOISE.get(found.verdict, '')})" if found else ""
        words = f", {setting(other)}: {format_ratio(ratio)}{noise}"
        yield element("p", "then ", bdi(other["label"]), words, class_="note")


def _alerts(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    states = Counter(row["status"] for row in rows)
    total = format_count(len(rows), "configuration")
    if not document["complete"]:
        words = (
            f"The run is not complete: {states['pending']} of {total} not measured yet, and the "
            "others perhaps in fewer rounds."
        )
        yield element("p", words, class_="alert bad")
    for status, words in (("wrong", "WRONG answers"), ("error", "Failed")):
        if states[status]:
            names = dict.fromkeys(row["label"] for row in rows if row["status"] == status)
            count = element("b", f"{words}: {states[status]} of {total}")
            link = element("a", "why", href=f"#{status}")
            listed = _listed(names)
            yield element(
                "p", count, ", without a rank: ", *listed, " (", link, ")", class_="alert bad"
            )
    doubtful = [row for row in rows if row["warnings"]]
    if doubtful:
        codes = Counter(one["code"] for row in doubtful for one in row["warnings"])
        words = ", ".join(f"{code} {codes[code]}" for code in sorted(codes))
        count = element("b", f"Doubtful: {len(doubtful)} of {total}")
        link = element("a", "why", href="#doubts")
        yield element("p", count, f": {words} (", link, ")", class_="alert doubtful")


def _listed(names: Mapping[str, Any]) -> Iterator[Element | str]:
    for number, name in enumerate(names):
        yield ", " if number else ""
        yield bdi(name)


def failures(rows: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    """Make the sections of what answers wrongly and of what failed, where something does."""
    wrong = [row for row in rows if row["status"] == "wrong"]
    if wrong:
        yield element(
            "section",
            element("h2", "Wrong answers", id="wrong"),
            element("p", "Fast or not, they answer other than the reference, and have no rank."),
            *(_wrong(row) for row in wrong),
            class_="apart",
        )
    reasons: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row["error"] is not None:
            reason = row["label"], row["error"]["type"], row["error"]["message"]
            reasons[reason].append(f"{format_count(row['seq_len'], 'token')}, {setting(row)}")
    if reasons:
        counts = Counter(row["label"] for row in rows)
        lines = [_failed(reason, where, counts[reason[0]]) for reason, where in reasons.items()]
        heading = element("h2", "Failed", id="error")
        yield element("section", heading, *lines, class_="apart")


def _wrong(row: Mapping[str, Any]) -> Element:
    fidelity = row["fidelity"]
    parts = [
        f"{name} off by {'no finite number' if error is None else format_percent(error)}"
        for name, error in ((name, one["error"]) for name, one in fidelity["outputs"].items())
    ]
    words = (
        f", {format_count(row['seq_len'], 'token')}, {setting(row)}: {', '.join(parts)}; "
        f"the recipe {row['quantize']} allows {format_percent(fidelity['limit'])} against "
    )
    reference = bdi(fidelity["reference"]["name"])
    same = f"; {format_percent(fidelity['agreement'])} of the answers are the same"
    tail = "." if fidelity["agreement"] is None else f"{same}."
    took = f" It took {format_figure(row['latency_ms'])} ms."
    return element("p", element("b", bdi(row["label"])), words, reference, tail, took)


def _failed(reason: tuple[str, str, str], where: Sequence[str], count: int) -> Element:
    name, kind, message = reason
    words = f"all {count} configurations" if len(where) == count > 1 else "; ".join(where)
    places = element("span", f" {words}", class_="note")
    says = element("code", f"{kind}: {message}")
    return element("p", element("b", bdi(name)), places, element("br"), says)


def warnings_section(rows: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    """Make the section that spells every doubt out, where there is one."""
    seen: dict[str, list[Element]] = defaultdict(list)
    for row in rows:
        for doubt in row["warnings"]:
            where = f", {format_count(row['seq_len'], 'token')}, {setting(row)}: {doubt['message']}"
            seen[doubt["code"]].append(element("li", bdi(row["label"]), where))
    if seen:
        yield element(
            "section", element("h2", "Doubts", id="doubts"), *(_doubt(*one) for one in seen.items())
        )


def _doubt(code: str, lines: Sequence[Element]) -> Element:
    meaning = f": {WARNING_CODES.get(code, '')} ({format_count(len(lines), 'configuration')})"
    summary = element("summary", element("b", code), meaning)
    return element("details", summary, element("ul", *lines), open="" if len(lines) <= 8 else None)
