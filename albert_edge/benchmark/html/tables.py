"""The table: every configuration with its figures, the best of every length first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from albert_edge.benchmark.format import (
    format_count,
    format_figure,
    format_megabytes,
    format_percent,
)
from albert_edge.benchmark.html.elements import Element, bdi, by_length, element, setting
from albert_edge.benchmark.statistics import float32_error
from albert_edge.benchmark.system import THROTTLE_BITS

__all__ = ["ranking", "scrolling", "system_section"]

_COLUMNS = (
    ("median", "ms"),
    ("p90", "ms"),
    ("p99", "ms"),
    ("from text", "ms"),
    ("tokens", "a second"),
    ("load", "ms"),
    ("first", "ms"),
    ("RAM", "MB"),
    ("file", "MB"),
    ("error", ""),
    ("energy", "mJ"),
)
_WORDS = {"ok": "", "wrong": "WRONG", "error": "failed", "pending": "not yet"}
_UNTOLD = "not told by the machine"


def ranking(rows: list[dict[str, Any]]) -> Element:
    """Make the section with the table; a column that no row fills is left out."""
    lines = [_figures(row) for row in rows]
    used = [number for number, cells in enumerate(zip(*lines, strict=True)) if {*cells} != {"-"}]
    heads = [element("th", "#", scope="col"), element("th", "configuration", scope="col")]
    for name, unit in (_COLUMNS[number] for number in used):
        heads.append(element("th", name, element("small", f" {unit}"), scope="col"))
    bodies = [
        element("tbody", _group(length, len(heads)), *(_line(row, used) for row in group))
        for length, group in by_length(rows).items()
    ]
    table = element("table", element("thead", element("tr", *heads)), *bodies, class_="ranks")
    return element(
        "section",
        element("h2", "All figures"),
        element("p", _EXPLAINED, class_="note"),
        scrolling(table, name="All figures"),
    )


_EXPLAINED = (
    "The fastest right answer of every length comes first. Times are of warm inferences, outputs "
    "read back; from text is with the tokenizer. RAM: resident "
    "of the warm model, over the empty process. Error: root mean square of the difference "
    "from float32 over that of float32. MB are 10⁶ bytes; - is not measured."
)


def scrolling(table: Element, *, name: str) -> Element:
    """Let a table that is wider than the page move sideways, with a keyboard too."""
    return element("div", table, class_="wide", role="region", aria_label=name, tabindex="0")


def _group(length: int, span: int) -> Element:
    words = element("span", format_count(length, "token"))
    return element("tr", element("th", words, scope="rowgroup", colspan=span), class_="group")


def _line(row: Mapping[str, Any], used: Sequence[int]) -> Element:
    place = "" if row["rank"] is None else str(row["rank"])
    figures = _figures(row)
    cells = [element("td", figures[number], class_="number") for number in used]
    kind = None if row["status"] == "ok" else "wrong"
    return element("tr", element("td", place, class_="number"), _name(row), *cells, class_=kind)


def _name(row: Mapping[str, Any]) -> Element:
    return element(
        "th",
        element("strong", f"{_WORDS[row['status']]} ", class_="bad")
        if row["status"] != "ok"
        else None,
        element("span", bdi(row["label"]), class_="label"),
        " ",
        element("span", setting(row), class_="note"),
        *_badges(row["warnings"]),
        scope="row",
    )


def _badges(warnings: Sequence[Mapping[str, str]]) -> Iterator[Element | str]:
    for doubt in warnings:
        yield " "
        yield element("small", doubt["code"], class_="badge", title=doubt["message"])


def _figures(row: Mapping[str, Any]) -> list[str]:
    size = format_megabytes(row["size_bytes"])
    if not row["measured"]:
        return [*["-"] * 8, size, "-", "-"]
    text, joules = row["end_to_end"], row["energy"]["joules"]
    return [
        *(format_figure(row[name]) for name in ("latency_ms", "latency_p90_ms", "latency_p99_ms")),
        format_figure(text and text["latency_ms"]),
        f"{row['tokens_per_s']:,.0f}",
        format_figure(row["load_ms"]),
        format_figure(row["first_ms"]),
        format_megabytes(row["model_rss_bytes"]),
        size,
        format_percent(float32_error(row)),
        format_figure(joules and 1e3 * joules),
    ]


# On what, how, and under which conditions it was measured.


def system_section(document: Mapping[str, Any]) -> Element:
    """Make the section about the machine, the run and the files."""
    parts = {
        "Machine": _machine(document),
        "While measuring": _state(document["rows"]),
        "How": _settings(document.get("settings") or {}),
    }
    lists = [
        element("div", element("h3", name), _list(pairs), class_="part")
        for name, pairs in parts.items()
        if pairs
    ]
    return element(
        "section",
        element("h2", "Conditions"),
        element("div", *lists, class_="parts"),
        *_files(document.get("files") or []),
    )


def _list(pairs: Mapping[str, str]) -> Element:
    entries = [
        part
        for name, text in pairs.items()
        for part in (element("dt", name), element("dd", text or _UNTOLD))
    ]
    return element("dl", *entries)


def _machine(document: Mapping[str, Any]) -> dict[str, str]:
    machine = document["machine"]
    kinds = [
        f"{kind['count']} × {kind['name']}"
        + ("" if kind["max_mhz"] is None else f", {kind['max_mhz']} MHz")
        for kind in machine["core_kinds"]
    ]
    ram = machine["ram_bytes"]
    return {
        "model": machine["model"],
        "device": document.get("device", "local"),
        "chip": machine["processor"] or "",
        "cores": "; ".join([str(machine["cores"]), *kinds]),
        "instructions": ", ".join(machine["instructions"]) or "none of those that matter",
        "RAM": "" if ram is None else f"{format_figure(ram / 1e9)} GB",
        "system": f"{machine['system']} {machine['kernel']}, {machine['architecture']}",
        "runtime": ", ".join(_distinct(document["rows"], "runtime")),
        "delegate": ", ".join(_distinct(document["rows"], "delegate")) or "none",
        "Python": machine["python"],
        "packages": ", ".join(f"{name} {one}" for name, one in machine["versions"].items()),
    }


def _distinct(rows: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    return sorted({row[name] for row in rows if row.get(name)})


def _state(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    rounds = [one for row in rows for one in row.get("rounds") or [row] if "conditions" in one]
    pairs = [one["conditions"] for one in rounds]
    if not pairs:
        return {}
    moments = [pair[when] for pair in pairs for when in ("before", "after")]
    loads = [one["load_average"][0] for one in moments if one["load_average"]]
    others = [one["other_cores_busy"] for one in rounds if one["other_cores_busy"] is not None]
    heats = [one["temperature_c"] for one in moments if one["temperature_c"] is not None]
    limits = {f"{most} of {top} MHz" for one in moments for most, top in one["clock_limits_mhz"]}
    return {
        "governor": ", ".join(sorted({name for one in moments for name in one["governors"]})),
        "clock": _range([mhz for one in moments for mhz in one["frequency_mhz"]], "MHz"),
        "clock limit": ", ".join(sorted(limits)),
        "temperature": _range(heats, "°C"),
        "throttling": _throttling(pairs),
        "load average": _range(loads, "over 1 minute"),
        "others at work": _range(others, "cores"),
    }


def _range(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    ends = dict.fromkeys((format_figure(min(values)), format_figure(max(values))))
    return f"{' to '.join(ends)} {unit}"


def _throttling(pairs: Sequence[Mapping[str, Any]]) -> str:
    bits = [one["throttled_bits"] for pair in pairs for one in pair.values()]
    events = [
        pair["after"]["throttle_events"] - pair["before"]["throttle_events"]
        for pair in pairs
        if None not in (one["throttle_events"] for one in pair.values())
    ]
    known = [one for one in bits if one is not None]
    if not known and not events:
        return ""
    seen = [name for bit, name in THROTTLE_BITS.items() if any(one >> bit & 1 for one in known)]
    seen += [f"slowed {sum(events)} times because of heat"] if sum(events) else []
    return ", ".join(seen) or "none"


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    if not settings:
        return {}
    return {
        "rounds": f"{settings['rounds']}, in which all take turns in an order of their own",
        "processes": "a fresh one a configuration and round",
        "warm inferences": f"at least {settings['runs']} and {settings['min_time_s']:g} s a round",
        "warm-up": f"{format_count(settings['warmup'], 'inference')}, not counted",
        "given up after": f"{settings['timeout_s']:g} s",
        "seed of the order": str(settings["seed"]),
    }


def _files(files: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    if not files:
        return
    heads = ("file", "recipe", "layout", "task", "MB", "error when made", "made from", "SHA-256")
    columns = [element("th", name, scope="col") for name in heads]
    table = element(
        "table",
        element("thead", element("tr", *columns)),
        element("tbody", *map(_file, files)),
    )
    yield element("h3", "Files")
    yield scrolling(table, name="Files")


def _file(file: Mapping[str, Any]) -> Element:
    found = file["verification"] and file["verification"].get("outputs")
    errors = [one["error"] for one in found.values()] if found else []
    return element(
        "tr",
        element("th", bdi(file["path"]), scope="row"),
        *(element("td", file[name] or "-") for name in ("quantize", "layout", "task")),
        element("td", format_megabytes(file["size_bytes"]), class_="number"),
        element("td", format_percent(max(errors, default=None)), class_="number"),
        element("td", bdi(file["source"] or "-")),
        element("td", element("code", file["sha256"] or "-"), class_="hash"),
    )
