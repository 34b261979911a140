"""The tables of the page: every configuration's metrics, the machine and settings, and the files.

The fastest configuration of every length with correct outputs comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from albert_edge.benchmark.format import (
    format_acceleration,
    format_cores,
    format_count,
    format_megabytes,
    format_metric,
    format_millions,
    format_percent,
    format_products,
    format_setting,
)
from albert_edge.benchmark.html.elements import (
    Element,
    bdi,
    element,
    group_by_length,
    scrollable,
)
from albert_edge.benchmark.statistics import float32_error
from albert_edge.benchmark.system import THROTTLE_BITS

_COLUMNS = (
    ("inference", "M instructions"),
    ("load", "M instructions"),
    ("first", "M instructions"),
    ("median", "ms"),
    ("p90", "ms"),
    ("p99", "ms"),
    ("from text", "ms"),
    ("tokens", "per s"),
    ("load", "ms"),
    ("first", "ms"),
    ("RAM", "MB"),
    ("file", "MB"),
    ("error", ""),
    ("energy", "mJ"),
)
_STATUS_LABELS = {"wrong": "WRONG", "error": "failed", "pending": "pending"}
_UNKNOWN = "unknown"


def ranking(rows: list[dict[str, Any]]) -> Element:
    """Make the section with all metrics; a column without any value is left out."""
    columns = zip(*(_metrics(row) for row in rows), strict=True)
    used = [number for number, cells in enumerate(columns) if {*cells} != {"-"}]
    heads = [element("th", "#", scope="col"), element("th", "configuration", scope="col")]
    for name, unit in (_COLUMNS[number] for number in used):
        heads.append(element("th", name, element("small", f" {unit}"), scope="col"))
    bodies = [
        element("tbody", _group(length, len(heads)), *(_result(row, used) for row in group))
        for length, group in group_by_length(rows).items()
    ]
    table = element("table", element("thead", element("tr", *heads)), *bodies, class_="ranks")
    counted = any(row["unit"] != "ms" for row in rows)
    return element(
        "section",
        element("h2", "All results"),
        element("p", _COUNTS_NOTE if counted else _NOTE, class_="note"),
        scrollable(table, name="All results"),
    )


_COUNTS_NOTE = (
    "The one with the fewest instructions of every length comes first. Instructions are those of "
    "one thread of an emulated processor, the same every time; they are no time. Error: root mean "
    "square of the difference from float32 over that of float32. MB are 10⁶ bytes; - is not "
    "measured."
)
_NOTE = (
    "The fastest of every length comes first. Times are of warm inferences, outputs read back; "
    "from text includes the tokenizer. RAM: resident memory of the warm model, over the empty "
    "process. Error: root mean square of the difference from float32 over that of float32. MB are "
    "10⁶ bytes; - is not measured."
)


def _group(length: int, span: int) -> Element:
    heading = element("span", format_count(length, "token"))
    return element("tr", element("th", heading, scope="rowgroup", colspan=span), class_="group")


def _result(row: Mapping[str, Any], used: Sequence[int]) -> Element:
    rank = "" if row["rank"] is None else str(row["rank"])
    metrics = _metrics(row)
    cells = [element("td", metrics[number], class_="number") for number in used]
    style = None if row["status"] == "ok" else "wrong"
    return element("tr", element("td", rank, class_="number"), _name(row), *cells, class_=style)


def _name(row: Mapping[str, Any]) -> Element:
    label = _STATUS_LABELS.get(row["status"])
    return element(
        "th",
        label and element("strong", f"{label} ", class_="bad"),
        element("span", bdi(row["label"]), class_="label"),
        " ",
        element("span", format_setting(row), class_="note"),
        *_acceleration(row),
        *_badges(row["warnings"]),
        scope="row",
    )


def _acceleration(row: Mapping[str, Any]) -> Iterator[Element | str]:
    if "acceleration" in row:
        yield " "
        yield element("span", f"({format_acceleration(row['acceleration'])})", class_="note")
    if "products" in row:
        yield " "
        yield element("span", f"({format_products(row)})", class_="note")


def _badges(warnings: Sequence[Mapping[str, str]]) -> Iterator[Element | str]:
    for warning in warnings:
        yield " "
        yield element("small", warning["code"], class_="badge", title=warning["message"])


def _metrics(row: Mapping[str, Any]) -> list[str]:
    size = format_megabytes(row["size_bytes"])
    if not row["measured"]:
        return [*["-"] * 11, size, "-", "-"]
    if row["unit"] != "ms":
        names = ("instructions_inference", "instructions_load", "instructions_first")
        counts = [format_millions(row[name]) for name in names]
        return [*counts, *["-"] * 8, size, format_percent(float32_error(row)), "-"]
    text, joules = row["end_to_end"], row["energy"]["joules"]
    return [
        *["-"] * 3,
        *(format_metric(row[name]) for name in ("latency_ms", "latency_p90_ms", "latency_p99_ms")),
        format_metric(text and text["latency_ms"]),
        f"{row['tokens_per_s']:,.0f}",
        format_metric(row["load_ms"]),
        format_metric(row["first_ms"]),
        format_megabytes(row["model_rss_bytes"]),
        size,
        format_percent(float32_error(row)),
        format_metric(joules and 1e3 * joules),
    ]


def system_section(report: Mapping[str, Any]) -> Element:
    """Make the section about the machine, the settings and the files."""
    parts = {
        "Machine": _machine(report),
        "While measuring": _conditions(report["rows"]),
        "Settings": _settings(report.get("settings") or {}),
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
        *_files(report.get("files") or []),
    )


def _list(pairs: Mapping[str, str]) -> Element:
    entries = [
        part
        for name, text in pairs.items()
        for part in (element("dt", name), element("dd", text or _UNKNOWN))
    ]
    return element("dl", *entries)


def _machine(report: Mapping[str, Any]) -> dict[str, str]:
    machine = report["machine"]
    kinds = [
        f"{kind['count']} × {kind['name']}"
        + ("" if kind["max_mhz"] is None else f", {kind['max_mhz']} MHz")
        for kind in machine["core_kinds"]
    ]
    ram = machine["ram_bytes"]
    return {
        "model": machine["model"],
        "device": report.get("device", "local"),
        "chip": machine["processor"] or "",
        "cores": "; ".join([format_cores(machine), *kinds]),
        "instructions": ", ".join(machine["instructions"]) or "none for quantized models",
        "RAM": "" if ram is None else f"{format_metric(ram / 1e9)} GB",
        "system": f"{machine['system']} {machine['kernel']}, {machine['architecture']}",
        "runtime": ", ".join(_distinct_values(report["rows"], "runtime")),
        "delegate": ", ".join(_distinct_values(report["rows"], "delegate")) or "none",
        "Python": machine["python"],
        "packages": ", ".join(f"{name} {one}" for name, one in machine["versions"].items()),
    }


def _distinct_values(rows: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    return sorted({row[name] for row in rows if row.get(name)})


def _conditions(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    rounds = [one for row in rows for one in row.get("rounds") or [row] if "conditions" in one]
    pairs = [one["conditions"] for one in rounds]
    if not pairs:
        return {}
    moments = [pair[when] for pair in pairs for when in ("before", "after")]
    loads = [one["load_average"][0] for one in moments if one["load_average"]]
    busy = [one["other_cores_busy"] for one in rounds if one["other_cores_busy"] is not None]
    temperatures = [one["temperature_c"] for one in moments if one["temperature_c"] is not None]
    clocks = [mhz for one in moments if (mhz := one.get("arm_clock_mhz")) is not None]
    limits = {
        f"{limit} of {maximum} MHz" for one in moments for limit, maximum in one["clock_limits_mhz"]
    }
    return {
        "governor": ", ".join(sorted({name for one in moments for name in one["governors"]})),
        "clock": _range([mhz for one in moments for mhz in one["frequency_mhz"]], "MHz"),
        **({"clock by the firmware": _range(clocks, "MHz")} if clocks else {}),
        "clock limit": ", ".join(sorted(limits)),
        "temperature": _range(temperatures, "°C"),
        "throttling": _throttling(pairs),
        "load average": _range(loads, "over 1 minute"),
        "other processes": _range(busy, "cores"),
    }


def _range(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    ends = dict.fromkeys((format_metric(min(values)), format_metric(max(values))))
    return f"{' to '.join(ends)} {unit}"


def _throttling(pairs: Sequence[Mapping[str, Any]]) -> str:
    bits = [one["throttled_bits"] for pair in pairs for one in pair.values()]
    events = [
        pair["after"]["throttle_events"] - pair["before"]["throttle_events"]
        for pair in pairs
        if None not in (one["throttle_events"] for one in pair.values())
    ]
    quotas = [pair for pair in pairs if all(one.get("cpu_quota") for one in pair.values())]
    waits = sum(
        pair["after"]["cpu_quota"]["throttled_periods"]
        - pair["before"]["cpu_quota"]["throttled_periods"]
        for pair in quotas
    )
    known = [one for one in bits if one is not None]
    if not known and not events and not quotas:
        return ""
    seen = [name for bit, name in THROTTLE_BITS.items() if any(one >> bit & 1 for one in known)]
    seen += [f"{format_count(sum(events), 'time')} because of heat"] if sum(events) else []
    seen += [f"in {format_count(waits, 'period')} by the CPU quota"] if waits else []
    return ", ".join(seen) or "none"


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    if not settings:
        return {}
    return {
        "rounds": f"{settings['rounds']}, interleaved, each in a random order",
        "processes": "a fresh one per configuration and round",
        "warm inferences": f"at least {settings['runs']} and {settings['min_time_s']:g} s a round",
        "warm-up": f"{format_count(settings['warmup'], 'inference')}, untimed",
        "timeout": f"{settings['timeout_s']:g} s",
        "seed of the order": str(settings["seed"]),
    }


def _files(files: Sequence[Mapping[str, Any]]) -> Iterator[Element]:
    if not files:
        return
    heads = ("file", "recipe", "layout", "task", "MB", "error when converted", "source", "SHA-256")
    columns = [element("th", name, scope="col") for name in heads]
    table = element(
        "table",
        element("thead", element("tr", *columns)),
        element("tbody", *map(_file, files)),
    )
    yield element("h3", "Files")
    yield scrollable(table, name="Files")


def _file(file: Mapping[str, Any]) -> Element:
    outputs = (file["verification"] or {}).get("outputs") or {}
    errors = [output["error"] for output in outputs.values()]
    return element(
        "tr",
        element("th", bdi(file["path"]), scope="row"),
        *(element("td", file[name] or "-") for name in ("quantize", "layout", "task")),
        element("td", format_megabytes(file["size_bytes"]), class_="number"),
        element("td", format_percent(max(errors, default=None)), class_="number"),
        element("td", bdi(file["source"] or "-")),
        element("td", element("code", file["sha256"] or "-"), class_="hash"),
    )
