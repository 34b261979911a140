"""On what, how, and under which conditions it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from albert_edge.benchmark.conditions import THROTTLE_BITS
from albert_edge.benchmark.page.markup import Element, element, name_of
from albert_edge.benchmark.page.ranking import scrolling
from albert_edge.benchmark.words import figure, megabytes, percent, plural

__all__ = ["conditions"]

_UNTOLD = "not told by the machine"


def conditions(document: Mapping[str, Any]) -> Element:
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
        "RAM": "" if ram is None else f"{figure(ram / 1e9)} GB",
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
    ends = dict.fromkeys((figure(min(values)), figure(max(values))))
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
        "warm-up": f"{plural(settings['warmup'], 'inference')}, not counted",
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
        element("th", name_of(file["path"]), scope="row"),
        *(element("td", file[name] or "-") for name in ("quantize", "layout", "task")),
        element("td", megabytes(file["size_bytes"]), class_="number"),
        element("td", percent(max(errors, default=None)), class_="number"),
        element("td", name_of(file["source"] or "-")),
        element("td", element("code", file["sha256"] or "-"), class_="hash"),
    )
