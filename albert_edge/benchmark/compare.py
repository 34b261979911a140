"""Two reports of the same configurations: what changed beyond the noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, variance
from typing import Any

from albert_edge.benchmark.format import format_ratio
from albert_edge.benchmark.report_file import as_report_error
from albert_edge.benchmark.statistics import float32_error
from albert_edge.errors import RegressionError, ReportError

__all__ = ["METRICS", "SCHEMA", "Ratio", "check_no_regression", "compare", "ratio_of_rounds"]

SCHEMA = "albert_edge.comparison/1"
# The smallest change that is one.  Another run meets the machine in another state, which its rounds
# do not show: what is not called noisy between two rounds is no change between two runs.
_LEAST = 0.05
_LEAST_MEMORY = 0.02  # it is counted in pages; a run draws a few of them more or less
_LEAST_SIZE = 0.001  # what a file says of its making may be some letters longer
_LEAST_ERROR = 0.01  # the same file errs alike every time, up to the order of additions
# Student's t, two-sided 99%, for 1, 2, ... degrees of freedom; beyond 30 the normal quantile would
# be 7% off, so the last one stays.  99% and not 95%: a report has dozens of figures, and of those
# that did not change one in twenty would be said to.
_T = (
    *(63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169),
    *(3.106, 3.055, 3.012, 2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845),
    *(2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750),
)


def _resident(row: Mapping[str, Any]) -> list[float]:
    stages = [(one["memory"]["empty"], one["memory"]["warm"]) for one in row["rounds"]]
    return [to["rss_bytes"] - at["rss_bytes"] for at, to in stages if at and to]


def _from_text(row: Mapping[str, Any]) -> list[float]:
    found, at = [], 0
    for one in row["rounds"]:
        part = row["end_to_end"]["samples_ns"][at : (at := at + one["text_n"])]
        found += [median(part) / 1e6] if part else []
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metric:
    """A figure that varies from round to round; the less, the better."""

    of_row: Callable[[Mapping[str, Any]], float | None]
    of_rounds: Callable[[Mapping[str, Any]], list[float]]
    least: float = _LEAST


def _plain(name: str) -> _Metric:
    return _Metric(
        of_row=lambda row: row[name], of_rounds=lambda row: [one[name] for one in row["rounds"]]
    )


_VARYING = {
    "latency_ms": _plain("latency_ms"),
    "end_to_end_ms": _Metric(
        of_row=lambda row: row["end_to_end"] and row["end_to_end"]["latency_ms"],
        of_rounds=_from_text,
    ),
    "load_ms": _plain("load_ms"),
    "first_ms": _plain("first_ms"),
    "model_rss_bytes": _Metric(
        of_row=lambda row: row["model_rss_bytes"], of_rounds=_resident, least=_LEAST_MEMORY
    ),
    "energy_joules": _Metric(
        of_row=lambda row: row["energy"]["joules"],
        of_rounds=lambda row: [
            joules for one in row["rounds"] if (joules := one["energy"]["joules"]) is not None
        ],
    ),
}
METRICS = (*_VARYING, "size_bytes", "error")


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Compare two reports of `albert-edge benchmark`, configuration by configuration.

    Args:
        old: As `read_document` returns it.
        new: Likewise.

    Returns:
        `differs`, on what the two were measured where that is not the same (`same_machine` is false
        if it is the machine); `rows`, the worst first, each with its `verdict` (`broken`, `worse`,
        `mixed`, `better`, `same` or `unknown`) and its `changes` by metric (`old`, `new`, `ratio`,
        its 99% interval `low` to `high`, and the `verdict`); `only_old` and `only_new`.

    Raises:
        ReportError: They have no configuration in common, or one of them is damaged.
    """
    with as_report_error():
        return _compared(old, new)


def check_no_regression(found: Mapping[str, Any]) -> None:
    """Refuse a comparison in which a configuration got worse beyond the noise.

    Args:
        found: What `compare` returned.

    Raises:
        RegressionError: One did: in a figure, or it failed or answers wrongly where it did not.
    """
    worse = [row for row in found["rows"] if row["verdict"] in ("broken", "worse", "mixed")]
    if worse:
        lines = "".join(f"\n  {_regression(row)}" for row in worse)
        raise RegressionError(f"{len(worse)} of {len(found['rows'])} got worse:{lines}")


def _regression(row: Mapping[str, Any]) -> str:
    what = f"{row['name']} ({row['accelerator']}, {row['threads']} threads, T={row['seq_len']})"
    if row["verdict"] == "broken":
        return f"{what}: {row['old_status']} before, and now {row['new_status']}"
    changes = row["changes"].items()
    worse = [
        f"{name} {format_ratio(one['ratio'])}" for name, one in changes if one["verdict"] == "worse"
    ]
    return f"{what}: {', '.join(worse)}"


def _compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    before, after = _by_key(old), _by_key(new)
    if not (common := [key for key in after if key in before]):
        raise ReportError(
            "the reports have no configuration (name, accelerator, threads and tokens) in common: "
            f"the old one has {_named(before)}; the new one has {_named(after)}."
        )
    differs = list(_differences(old, new))
    rows = [_row(before[key], after[key]) for key in common]
    order = ("broken", "worse", "mixed", "better", "unknown", "same")
    return {
        "schema": SCHEMA,
        "old": {"date": old["date"], "complete": old["complete"]},
        "new": {"date": new["date"], "complete": new["complete"]},
        "same_machine": not any(one["hardware"] for one in differs),
        "differs": differs,
        "rows": sorted(rows, key=lambda row: order.index(row["verdict"])),
        "only_old": [_identity(before[key]) for key in before if key not in after],
        "only_new": [_identity(after[key]) for key in after if key not in before],
    }


def _by_key(document: Mapping[str, Any]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    # In reports of other programs a recipe comes in several layouts.
    named = document["kind"] == "benchmark"
    return {
        (*_identity(row).values(), None if named else row["layout"]): row
        for row in document["rows"]
    }


def _identity(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("name", "accelerator", "threads", "seq_len")}


def _named(rows: Mapping[tuple[Any, ...], Any]) -> str:
    names = [" ".join(str(part) for part in key if part is not None) for key in rows]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    before, after = _circumstances(old), _circumstances(new)
    for what in before | after:
        hardware, then = before.get(what, (False, None))
        _, now = after.get(what, (False, None))
        if then != now:
            yield {"what": what, "hardware": hardware, "old": then, "new": now}


def _circumstances(document: Mapping[str, Any]) -> dict[str, tuple[bool, Any]]:
    """Return whether it is hardware, and what it is, by its name."""
    machine, rows = document["machine"], document["rows"]
    hardware = ("model", "processor", "cores", "ram_bytes", "architecture")
    used = {
        name: sorted({row[name] for row in rows if row.get(name)})
        for name in ("runtime", "delegate")
    }
    settings = document.get("settings") or {}
    software = {
        "device": document.get("device", "local"),
        "system": f"{machine['system']} {machine['kernel']}",
        "python": machine["python"],
        **used,
        **machine["versions"],
        "governors": machine["conditions"]["governors"],
        **{name: settings.get(name) for name in ("rounds", "runs", "warmup", "min_time_s")},
    }
    return {
        **{name: (True, machine[name]) for name in hardware},
        **{name: (False, value) for name, value in software.items()},
    }


def _row(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    changes = dict(_changes(old, new))
    return {
        **_identity(new),
        "old_status": old["status"],
        "new_status": new["status"],
        "same_file": old.get("sha256") == new.get("sha256"),
        "doubts": sorted({one["code"] for row in (old, new) for one in row["warnings"]}),
        "verdict": _verdict(old, new, [one["verdict"] for one in changes.values()]),
        "changes": changes,
    }


def _verdict(old: Mapping[str, Any], new: Mapping[str, Any], verdicts: Sequence[str]) -> str:
    if "pending" in (old["status"], new["status"]):
        return "unknown"
    if old["status"] != new["status"]:
        return "better" if new["status"] == "ok" else "broken"
    if {"better", "worse"} <= {*verdicts}:
        return "mixed"
    return next((one for one in ("worse", "better", "unknown") if one in verdicts), "same")


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if "latency_ms" in old and "latency_ms" in new:
        for name, metric in _VARYING.items():
            before, after = metric.of_row(old), metric.of_row(new)
            if before is not None and after is not None and before > 0:
                # A report of another program has no rounds: nothing tells how its figures vary.
                rounds = [metric.of_rounds(row) if "rounds" in row else [1.0] for row in (old, new)]
                found = ratio_of_rounds(*rounds, ratio=after / before, least=metric.least)
                if found is not None:
                    yield name, _change(before, after, found)
    exact = (
        ("size_bytes", old["size_bytes"], new["size_bytes"], _LEAST_SIZE),
        ("error", float32_error(old), float32_error(new), _LEAST_ERROR),
    )
    for name, before, after, least in exact:
        if before and after is not None:
            ratio = after / before
            yield (
                name,
                _change(before, after, Ratio(ratio=ratio, low=ratio, high=ratio, least=least)),
            )


def _change(old: float, new: float, found: Ratio) -> dict[str, Any]:
    return {
        "old": old,
        "new": new,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "verdict": found.verdict,
    }


# Whether a figure changed, or the machine was only as noisy as machines are.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times the old figure the new one is.

    Attributes:
        ratio: New over old.
        low: The lower end of its 99% interval; None if nothing tells how the figure varies.
        high: The upper end.
        least: The smallest change, as a share, that is one, however quiet the machine was.
    """

    ratio: float
    low: float | None
    high: float | None
    least: float

    @property
    def verdict(self) -> str:
        """`better` (less), `worse` (more), `same` (within the noise) or `unknown`."""
        if self.low is None or self.high is None:
            return "unknown"
        if self.high < 1 and self.ratio < 1 / (1 + self.least):
            return "better"
        return "worse" if self.low > 1 and self.ratio > 1 + self.least else "same"


def ratio_of_rounds(
    old: Sequence[float], new: Sequence[float], *, ratio: float, least: float = 0.0
) -> Ratio | None:
    """Compare a figure of several rounds with that of several others.

    Each round is a process of its own, so the rounds are what repeats: samples within one share its
    luck, and however many they are, they cannot tell how another process would do.  Hence Welch's t
    interval (Welch 1947) of the rounds' logarithms.

    Args:
        old: The figure of each of the old rounds, such as its median; above 0.
        new: Of each of the new ones.
        ratio: How many times the old figure of all rounds the new one is, such as that of the
            medians of all samples.
        least: See `Ratio`.

    Returns:
        The ratio; None if there is none: no rounds, or a figure that is not above 0.

    Example:
        >>> ratio_of_rounds([10.0, 10.1, 10.2], [5.0, 5.1, 5.0], ratio=0.5).verdict
        'better'
    """
    if not old or not new or min(*old, *new) <= 0:
        return None
    if min(len(old), len(new)) < 2:
        return Ratio(ratio=ratio, low=None, high=None, least=least)
    half = _half_width(*([math.log(value) for value in values] for values in (old, new)))
    low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return Ratio(ratio=ratio, low=low, high=high, least=least)


def _half_width(old: Sequence[float], new: Sequence[float]) -> float:
    parts = [variance(values) / len(values) for values in (old, new)]
    if not (total := sum(parts)):
        return 0.0
    # Welch and Satterthwaite's degrees of freedom, rounded down to be careful.
    freedom = total**2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (old, new), strict=True)
    )
    return _T[min(int(freedom + 1e-9), len(_T)) - 1] * math.sqrt(total)
