"""Compare two reports of the same configurations: what changed beyond the noise.

Each round is a process of its own, so the variation between rounds shows the noise of a metric;
`ratio_of_rounds` computes the confidence interval of its change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, variance
from typing import Any

from albert_edge.benchmark.format import format_ratio
from albert_edge.benchmark.report_file import reraise_as_report_error
from albert_edge.benchmark.statistics import describe_row, float32_error
from albert_edge.errors import RegressionError, ReportError

__all__ = [
    "SCHEMA",
    "compare_reports",
    "raise_on_regression",
    "ratio_of_pairs",
    "ratio_of_rounds",
]

SCHEMA = "albert_edge.comparison/1"
# The smallest relative change that counts.  The state of the machine differs between two runs,
# which the rounds of one run do not show; the threshold is that of the warning `noisy`.
_MIN_CHANGE = 0.05
_MIN_MEMORY_CHANGE = 0.02  # memory is counted in pages, and varies by a few between runs
_MIN_SIZE_CHANGE = 0.001  # the length of a file's metadata may vary by some bytes
_MIN_COUNT_CHANGE = 0.001  # instructions vary by a few with the lengths of paths
_MIN_ERROR_CHANGE = 0.01  # a file's error is the same every time, up to the order of additions
_Z_99 = 2.576  # the normal quantile, two-sided 99%
_MIN_PAIRED_CHANGE = 0.01  # both files meet the same state of the machine
_FEWEST_RANKS = 5  # of fewer rounds, not even all ranks are 99%
_FEWEST_SIGNED_RANKS = 8  # the same of pairs
# Student's t, two-sided 99%, for 1, 2, ... degrees of freedom; beyond 30 the last value is used
# (the normal quantile is 7% smaller).  99% and not 95%: a report has dozens of metrics, and at 95%
# one in twenty of those that did not change would be reported.
_T_99 = (
    *(63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169),
    *(3.106, 3.055, 3.012, 2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845),
    *(2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750),
)


def _rss_of_rounds(row: Mapping[str, Any]) -> list[float]:
    stages = [(one["memory"]["empty"], one["memory"]["warm"]) for one in row["rounds"]]
    return [warm["rss_bytes"] - empty["rss_bytes"] for empty, warm in stages if empty and warm]


def _text_medians(row: Mapping[str, Any]) -> list[float]:
    medians, start = [], 0
    for one in row["rounds"]:
        samples = row["end_to_end"]["samples_ns"][start : (start := start + one["text_n"])]
        medians += [median(samples) / 1e6] if samples else []
    return medians


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metric:
    """A metric that varies between rounds; lower is better."""

    of_row: Callable[[Mapping[str, Any]], float | None]
    of_rounds: Callable[[Mapping[str, Any]], list[float]]
    min_change: float = _MIN_CHANGE


def _field(name: str) -> _Metric:
    return _Metric(
        of_row=lambda row: row[name], of_rounds=lambda row: [one[name] for one in row["rounds"]]
    )


_VARYING_METRICS = {
    "latency_ms": _field("latency_ms"),
    "end_to_end_ms": _Metric(
        of_row=lambda row: row["end_to_end"] and row["end_to_end"]["latency_ms"],
        of_rounds=_text_medians,
    ),
    "load_ms": _field("load_ms"),
    "first_ms": _field("first_ms"),
    "model_rss_bytes": _Metric(
        of_row=lambda row: row["model_rss_bytes"],
        of_rounds=_rss_of_rounds,
        min_change=_MIN_MEMORY_CHANGE,
    ),
    "energy_joules": _Metric(
        of_row=lambda row: row["energy"]["joules"],
        of_rounds=lambda row: [
            joules for one in row["rounds"] if (joules := one["energy"]["joules"]) is not None
        ],
    ),
}
_COUNTS = ("instructions_inference", "instructions_load", "instructions_first")
METRICS = (*_VARYING_METRICS, *_COUNTS, "size_bytes", "error")


def compare_reports(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Compare two reports of `albert-edge benchmark`, configuration by configuration.

    Args:
        old: The old report, as `read_report` returns it.
        new: The new one.

    Returns:
        `differs`, the conditions of measurement that are not the same (`same_machine` is false if
        the hardware differs); `rows`, the worst first, each with its `verdict` (`broken`, `worse`,
        `mixed`, `better`, `same` or `unknown`) and its `changes` by metric (`old`, `new`, `ratio`,
        its 99% interval `low` to `high`, and the `verdict`); `only_old` and `only_new`.

    Raises:
        ReportError: They have no configuration in common, or one of them is damaged.
    """
    with reraise_as_report_error():
        comparison = _compare(old, new)
        json.dumps(comparison, allow_nan=False)  # ValueError if a ratio is too large for a float
    return comparison


def raise_on_regression(comparison: Mapping[str, Any]) -> None:
    """Raise an error if a configuration got worse beyond the noise.

    Args:
        comparison: The result of `compare_reports`.

    Raises:
        RegressionError: A metric of a configuration got worse, or it failed or has wrong outputs
            and had not before.
    """
    rows = comparison["rows"]
    worse = [row for row in rows if row["verdict"] in ("broken", "worse", "mixed")]
    if worse:
        lines = "".join(f"\n  {describe_row(row)}: {_explain_regression(row)}" for row in worse)
        raise RegressionError(f"{len(worse)} of {len(rows)} got worse:{lines}")


def _explain_regression(row: Mapping[str, Any]) -> str:
    if row["verdict"] == "broken":
        return f"{row['old_status']} before, and now {row['new_status']}"
    changes = row["changes"].items()
    return ", ".join(
        f"{name} {format_ratio(one['ratio'])}" for name, one in changes if one["verdict"] == "worse"
    )


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    before, after = _by_key(old), _by_key(new)
    if not (common := [key for key in after if key in before]):
        raise ReportError(
            "the reports have no configuration (name, accelerator, threads and tokens) in common: "
            f"the old one has {_list_keys(before)}; the new one has {_list_keys(after)}."
        )
    differs = list(_differences(old, new))
    rows = [_compare_rows(before[key], after[key]) for key in common]
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


def _by_key(report: Mapping[str, Any]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    # In reports of other programs a name may occur with several layouts.
    unique_names = report["kind"] == "benchmark"
    return {
        (*_identity(row).values(), None if unique_names else row["layout"]): row
        for row in report["rows"]
    }


def _identity(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("name", "accelerator", "threads", "seq_len")}


def _list_keys(rows: Mapping[tuple[Any, ...], Any]) -> str:
    names = [" ".join(str(part) for part in key if part is not None) for key in rows]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    before, after = _conditions(old), _conditions(new)
    for what in before | after:
        hardware, old_value = before.get(what, (False, None))
        _, new_value = after.get(what, (False, None))
        if old_value != new_value:
            yield {"what": what, "hardware": hardware, "old": old_value, "new": new_value}


def _conditions(report: Mapping[str, Any]) -> dict[str, tuple[bool, Any]]:
    """Return each condition of measurement by name: whether it is hardware, and its value."""
    machine, rows = report["machine"], report["rows"]
    hardware = ("model", "processor", "cores", "ram_bytes", "architecture")
    settings = report.get("settings") or {}
    software = {
        "device": report.get("device", "local"),
        "system": f"{machine['system']} {machine['kernel']}",
        "python": machine["python"],
        **{
            name: sorted({row[name] for row in rows if row.get(name)})
            for name in ("runtime", "delegate")
        },
        **machine["versions"],
        "governors": machine["conditions"]["governors"],
        "cpu_quota": (machine["conditions"].get("cpu_quota") or {}).get("cores"),
        **{name: settings.get(name) for name in ("rounds", "runs", "warmup", "min_time_s")},
    }
    return {
        **{name: (True, machine[name]) for name in hardware},
        **{name: (False, value) for name, value in software.items()},
    }


def _compare_rows(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
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
        for name, metric in _VARYING_METRICS.items():
            before, after = metric.of_row(old), metric.of_row(new)
            if before is not None and after is not None and before > 0:
                # Reports of other programs have no rounds, so the variation is unknown.
                rounds = [metric.of_rounds(row) if "rounds" in row else [1.0] for row in (old, new)]
                ratio = ratio_of_rounds(*rounds, ratio=after / before, min_change=metric.min_change)
                if ratio is not None:
                    yield name, ratio.to_change(before, after)
    exact = (
        *((name, old.get(name), new.get(name), _MIN_COUNT_CHANGE) for name in _COUNTS),
        ("size_bytes", old["size_bytes"], new["size_bytes"], _MIN_SIZE_CHANGE),
        ("error", float32_error(old), float32_error(new), _MIN_ERROR_CHANGE),
    )
    for name, before, after, min_change in exact:
        if before and after is not None:
            value = after / before
            ratio = Ratio(ratio=value, low=value, high=value, min_change=min_change)
            yield name, ratio.to_change(before, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio of a metric's new value to its old one.

    Attributes:
        ratio: New over old.
        low: The lower end of its 99% confidence interval; None if the variation is unknown.
        high: The upper end.
        min_change: The smallest relative change that counts, however quiet the machine was.
    """

    ratio: float
    low: float | None
    high: float | None
    min_change: float

    @property
    def verdict(self) -> str:
        """`better` (lower), `worse` (higher), `same` (within the noise) or `unknown`."""
        if self.low is None or self.high is None:
            return "unknown"
        if self.high < 1 and self.ratio < 1 / (1 + self.min_change):
            return "better"
        return "worse" if self.low > 1 and self.ratio > 1 + self.min_change else "same"

    def to_change(self, old: float, new: float) -> dict[str, Any]:
        """Return the `changes` entry of a metric with these values."""
        return {
            "old": old,
            "new": new,
            "ratio": self.ratio,
            "low": self.low,
            "high": self.high,
            "verdict": self.verdict,
        }


def ratio_of_rounds(
    old: Sequence[float], new: Sequence[float], *, ratio: float, min_change: float = 0.0
) -> Ratio | None:
    """Compute the confidence interval of the ratio of a metric, from its values in the rounds.

    The samples of a round come from one process and are not independent, so however many they are,
    they do not show the variation between processes: the interval is of the logarithms of the
    rounds' values.  Of five rounds or more it is that of ranks (Hodges & Lehmann 1963,
    doi:10.1214/aoms/1177704172), which a few disturbed rounds hardly widen; of fewer Welch's t
    interval (Welch 1947), since so few ranks exclude nothing.

    Args:
        old: The metric in each old round, such as its median; above 0.
        new: The metric in each new round.
        ratio: New over old for all rounds together, such as that of the medians of all samples.
        min_change: See `Ratio`.

    Returns:
        The ratio; None without rounds, or if a value is not above 0.

    Example:
        >>> ratio_of_rounds([10.0, 10.1, 10.2], [5.0, 5.1, 5.0], ratio=0.5).verdict
        'better'
    """
    if not old or not new or min(*old, *new) <= 0:
        return None
    if min(len(old), len(new)) < 2:
        return Ratio(ratio=ratio, low=None, high=None, min_change=min_change)
    before, after = ([math.log(value) for value in values] for values in (old, new))
    if min(len(old), len(new)) < _FEWEST_RANKS:
        half = _half_width(before, after)
        low, high = ratio * math.exp(-half), ratio * math.exp(half)
    else:
        low, high = (math.exp(shift) for shift in _shifts(before, after))
        low, high = min(low, ratio), max(high, ratio)
    return Ratio(ratio=ratio, low=low, high=high, min_change=min_change)


def signed_ranks(
    old: Sequence[float], new: Sequence[float], *, z: float
) -> tuple[float, float, float]:
    """Return the median ratio, new over old, of values that were taken together, and its interval.

    The interval is that of Wilcoxon's signed ranks, by its normal approximation: of the means of
    every two logarithms of ratios (Hodges & Lehmann 1963, doi:10.1214/aoms/1177704172).

    Args:
        old: The old values, above 0.
        new: The new ones, of the same rounds.
        z: The normal quantile of the interval, two-sided.
    """
    logs = [math.log(after / before) for before, after in zip(old, new, strict=True)]
    means = sorted((logs[i] + logs[j]) / 2 for i in range(len(logs)) for j in range(i + 1))
    deviation = math.sqrt(len(logs) * (len(logs) + 1) * (2 * len(logs) + 1) / 24)
    first = max(int(len(means) / 2 - z * deviation), 0)
    return math.exp(median(means)), math.exp(means[first]), math.exp(means[-1 - first])


def ratio_of_pairs(old: Sequence[float], new: Sequence[float]) -> Ratio:
    """Compute the median ratio of two metrics that were taken together, and its interval.

    Of eight pairs or more it is that of `signed_ranks`, of fewer Student's.

    Args:
        old: The old metric in each round, above 0.
        new: The new one in the same rounds.

    Example:
        >>> ratio_of_pairs([10.0, 15.0, 10.1], [5.0, 7.6, 5.0]).verdict
        'better'
    """
    ratio, low, high = signed_ranks(old, new, z=_Z_99)
    if (count := len(old)) < 2:
        return Ratio(ratio=ratio, low=None, high=None, min_change=_MIN_PAIRED_CHANGE)
    if count < _FEWEST_SIGNED_RANKS:
        logs = [math.log(after / before) for before, after in zip(old, new, strict=True)]
        half = _T_99[count - 2] * math.sqrt(variance(logs) / count)
        low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return Ratio(ratio=ratio, low=low, high=high, min_change=_MIN_PAIRED_CHANGE)


def _shifts(old: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the interval of the shift from one sample to the other."""
    shifts = sorted(after - before for before in old for after in new)
    # The standard deviation of the rank sum, whose distribution is nearly normal.
    deviation = math.sqrt(len(shifts) * (len(old) + len(new) + 1) / 12)
    first = int(len(shifts) / 2 - _Z_99 * deviation)
    return shifts[first], shifts[-1 - first]


def _half_width(old: Sequence[float], new: Sequence[float]) -> float:
    parts = [variance(values) / len(values) for values in (old, new)]
    if not (total := sum(parts)):
        return 0.0
    # Welch and Satterthwaite's degrees of freedom, rounded down, which widens the interval.
    freedom = total**2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (old, new), strict=True)
    )
    return _T_99[min(int(freedom + 1e-9), len(_T_99)) - 1] * math.sqrt(total)
