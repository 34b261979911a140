"""Metrics of a report's rows: computed from the rounds, restored, ranked and checked.

A row's metrics are those of all its rounds together.  `find_warnings` lists reasons to doubt them;
`raise_on_failures` turns failed and wrong rows into an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from albert_edge.benchmark.format import format_count
from albert_edge.benchmark.measure import Count, Measurement, aggregate_rounds
from albert_edge.benchmark.system import THROTTLE_BITS
from albert_edge.errors import DeviceError, FidelityError

__all__ = [
    "WARNING_CODES",
    "counts_instructions",
    "float32_error",
    "inference_cost",
    "raise_on_failures",
]

# Metrics of a row and of each of its rounds, under the same names.
_ROUND_METRICS = (
    *("import_ms", "load_ms", "first_ms", "latency_ms", "other_cores_busy", "memory"),
    *("peak_rss_bytes", "arena_bytes", "energy", "conditions"),
)
_MEMORY_KINDS = ("rss", "anonymous", "file", "pss")
# Fields of a measurement that are the same in every round.
_CONSTANT_FIELDS = (
    *("size_bytes", "sha256", "task", "quantize", "layout", "engine", "threads", "runtime"),
    *("delegate", "operators", "operators_delegated", "outputs_sha256"),
)
# A code never changes its meaning.
WARNING_CODES = {
    "throttled": "The processor was throttled because of heat or low voltage.",
    "clock-limited": "The CPU frequency is capped below its maximum.",
    "screen-off": "The phone's screen was off: Android then slows its processor down.",
    "powersave": "A core ran under the powersave governor.",
    "cpu-quota": "The CPU quota of the container limits the process.",
    "busy": "Other processes, or other guests of the same host, were using the processor.",
    "noisy": "The medians of the rounds are more than 5% apart: another run may well differ.",
    "unrepeated": "Measured in one round only, so the variation between runs is unknown.",
    "software-gpu": "The GPU is a program on the CPU: its times are not those of a GPU.",
}
_MAX_SPREAD = 0.05
# Cores, on average.  An idle desktop uses 0.02 to 0.1, and the kernel's count is off by 0.04 over
# half a second.
_MAX_OTHER_CORES = 0.2


def summarize_rounds(rounds: Sequence[Measurement]) -> dict[str, Any]:
    """Return the metrics of a configuration's rounds: over all samples, and medians of the rest."""
    total = aggregate_rounds(rounds)
    seconds = sum(total.samples_ns) / 1e9
    return {
        **{name: getattr(total, name) for name in _CONSTANT_FIELDS},
        **{name: getattr(total, name) for name in _ROUND_METRICS},
        "seq_len": len(total.input_ids),
        "input_ids": list(total.input_ids),
        **({"layers_used": total.layers_used} if total.layers_used else {}),
        **({"acceleration": total.acceleration} if total.acceleration else {}),
        **({"products": total.products} if total.products else {}),
        **latency_stats(total.samples_ns),
        "cpu_ms": total.cpu_ms,
        "inferences_per_s": len(total.samples_ns) / seconds,
        "tokens_per_s": len(total.samples_ns) * len(total.input_ids) / seconds,
        "samples_ns": list(total.samples_ns),
        "cpu_samples_ns": list(total.cpu_samples_ns),
        "end_to_end": _end_to_end(total.text_samples_ns),
        "empty_rss_bytes": total.empty_rss_bytes,
        **{f"model_{kind}_bytes": total.model_bytes(kind) for kind in _MEMORY_KINDS},
    }


_COUNTS = ("instructions_load", "instructions_first", "instructions_inference")


def summarize_count(count: Count) -> dict[str, Any]:
    """Return the metrics of a configuration on an emulated processor."""
    return {
        **{name: getattr(count, name) for name in (*_CONSTANT_FIELDS, *_COUNTS)},
        "seq_len": len(count.input_ids),
        "input_ids": list(count.input_ids),
        **({"layers_used": count.layers_used} if count.layers_used else {}),
    }


def restore_count(row: Mapping[str, Any]) -> Count:
    """Restore the count of a report's row, without outputs.

    Raises:
        KeyError: A field is missing.
    """
    return Count(
        path=row["path"],
        **{name: row[name] for name in (*_CONSTANT_FIELDS, *_COUNTS)},
        layers_used=row.get("layers_used"),
        input_ids=tuple(row["input_ids"]),
        outputs=(),
    )


def counts_instructions(report: Mapping[str, Any]) -> bool:
    """Return whether a report is one of an emulated processor: its rows have no times."""
    return str(report.get("device", "local")).startswith("qemu://")


def inference_cost(row: Mapping[str, Any]) -> float | None:
    """Return what a warm inference of a row costs, by which rows are ranked.

    The median in ms, or on an emulated processor millions of instructions; None before that is
    known.

    Example:
        >>> inference_cost({"instructions_inference": 85_200_000})
        85.2
    """
    if (instructions := row.get("instructions_inference")) is not None:
        return float(instructions) / 1e6
    return row.get("latency_ms")


def latency_stats(samples_ns: Sequence[int]) -> dict[str, Any]:
    """Return the median `latency_ms`, `latency_p90_ms`, `_p99_`, `_min_`, and the count `n`.

    A percentile is the smallest sample that so many percent of them do not exceed.
    """
    p90, p99 = np.percentile(samples_ns, (90, 99), method="inverted_cdf") / 1e6
    return {
        "latency_ms": float(np.median(samples_ns)) / 1e6,
        "latency_p90_ms": float(p90),
        "latency_p99_ms": float(p99),
        "latency_min_ms": min(samples_ns) / 1e6,
        "n": len(samples_ns),
    }


def summarize_round(measurement: Measurement) -> dict[str, Any]:
    """Return the metrics of one round that `restore_rounds` cannot compute from the row's."""
    return {
        **{name: getattr(measurement, name) for name in _ROUND_METRICS},
        "n": len(measurement.samples_ns),
        "text_n": len(measurement.text_samples_ns),
    }


def restore_rounds(row: Mapping[str, Any]) -> list[Measurement]:
    """Restore the measurements of a report's row, without outputs.

    Raises:
        KeyError: A field is missing.
    """
    rounds, text_samples = [], (row["end_to_end"] or {"samples_ns": []})["samples_ns"]
    start = text_start = 0
    for metrics in row["rounds"]:
        end, text_end = start + metrics["n"], text_start + metrics["text_n"]
        rounds.append(
            Measurement(
                path=row["path"],
                **{name: row[name] for name in _CONSTANT_FIELDS},
                **{name: metrics[name] for name in _ROUND_METRICS if name != "latency_ms"},
                layers_used=row.get("layers_used"),
                acceleration=row.get("acceleration"),
                products=row.get("products"),
                input_ids=tuple(row["input_ids"]),
                samples_ns=tuple(row["samples_ns"][start:end]),
                cpu_samples_ns=tuple(row["cpu_samples_ns"][start:end]),
                text_samples_ns=tuple(text_samples[text_start:text_end]),
                outputs=(),
            )
        )
        start, text_start = end, text_end
    return rounds


def _end_to_end(samples_ns: Sequence[int]) -> dict[str, Any] | None:
    return {**latency_stats(samples_ns), "samples_ns": list(samples_ns)} if samples_ns else None


def rank(rows: Sequence[dict[str, Any]]) -> None:
    """Set the `rank` of every `ok` row: by `inference_cost` among those of its length, from 1."""
    for row in rows:
        row["rank"] = None
    for seq_len in {row["seq_len"] for row in rows}:
        correct = [row for row in rows if row["seq_len"] == seq_len and row["status"] == "ok"]
        ordered = sorted(correct, key=lambda row: inference_cost(row) or 0.0)
        for position, row in enumerate(ordered, 1):
            row["rank"] = position


def float32_error(row: Mapping[str, Any]) -> float | None:
    """Return the relative error of a row's worst output against float32.

    The reference is the float32 file of the same checkpoint among the files, or else, when the file
    was converted, the Keras model; None if neither is known or an output is not finite.
    """
    comparison = row["fidelity"]
    if comparison is None or comparison["reference"]["quantize"] != "float32":
        comparison = row["verification"]
    errors = [output["error"] for output in (comparison or {}).get("outputs", {}).values()]
    return None if not errors or None in errors else max(errors)


def raise_on_failures(report: Mapping[str, Any]) -> None:
    """Raise an error if a configuration of a report failed or has wrong outputs.

    Raises:
        DeviceError: A configuration failed.
        FidelityError: None failed, but the error of an output exceeds its recipe's limit.
    """
    rows = report["rows"]
    failed = [f"{describe_row(row)}: {row['error']['message']}" for row in rows if row["error"]]
    wrong = [
        f"{describe_row(row)}: {_explain_wrong(row)}" for row in rows if row["status"] == "wrong"
    ]
    if failed or wrong:
        kind = DeviceError if failed else FidelityError
        lines = "".join(f"\n  {line}" for line in failed + wrong)
        raise kind(f"{len(failed)} of {len(rows)} failed, {len(wrong)} have wrong outputs:{lines}")


def describe_row(row: Mapping[str, Any]) -> str:
    """Return the name and settings of a row, for error messages."""
    threads = format_count(row["threads"], "thread")
    return f"{row['name']} ({row['accelerator']}, {threads}, T={row['seq_len']})"


def _explain_wrong(row: Mapping[str, Any]) -> str:
    fidelity, on_edgetpu = row["fidelity"], row["accelerator"].startswith("edgetpu")
    on_cpu = fidelity.get("cpu")
    if on_cpu is not None and not on_cpu["passed"]:
        if on_cpu["difference"] is None:
            return "an output is not finite, or its shape is not the CPU's."
        return (
            f"an output differs from the CPU's by {on_cpu['difference']:.2g} of its largest value; "
            f"at most {on_cpu['limit']:g} is allowed. "
            + ("Compile the products again." if on_edgetpu else "Convert it with --target gpu.")
        )
    errors = {name: one["error"] for name, one in fidelity["outputs"].items()}
    invalid = [name for name, error in errors.items() if error is None]
    if invalid:
        return f"{invalid[0]} is not finite, or its shape differs from the reference's."
    name = max(errors, key=lambda name: errors[name])
    return (
        f"the relative error of {name} against {fidelity['reference']['name']} is "
        f"{errors[name]:.3g}; at most {fidelity['limit']:g} is allowed."
    )


def find_warnings(rounds: Sequence[Measurement]) -> list[dict[str, str]]:
    """List reasons to doubt a configuration's rounds: the `code` and a `message` of each."""
    warnings, apart = system_warnings(rounds), spread(rounds)
    if apart is not None and apart > _MAX_SPREAD:
        medians = ", ".join(f"{one.latency_ms:.3g}" for one in rounds)
        message = f"the rounds' medians are {apart:.0%} apart: {medians} ms"
        warnings.append({"code": "noisy", "message": message})
    if len(rounds) == 1:
        message = "one round only; more rounds would show the variation between runs"
        warnings.append({"code": "unrepeated", "message": message})
    share = rounds[0].acceleration if rounds else None
    if share is not None and share["is_software"]:
        message = f"{share['device']} is a program on the CPU"
        warnings.append({"code": "software-gpu", "message": message})
    return warnings


def system_warnings(rounds: Sequence[Measurement]) -> list[dict[str, str]]:
    """List the warnings about the machine, which need no comparison of rounds."""
    checks = {
        "throttled": _check_throttling,
        "clock-limited": _check_clock_limits,
        "screen-off": _check_screen,
        "powersave": _check_governors,
        "cpu-quota": _check_cpu_quota,
        "busy": _check_other_processes,
    }
    return [
        {"code": code, "message": message}
        for code, check in checks.items()
        for message in check(rounds)
    ]


def spread(rounds: Sequence[Measurement]) -> float | None:
    """Return the range of the rounds' medians relative to the smallest; None for one round."""
    medians = [one.latency_ms for one in rounds]
    return max(medians) / min(medians) - 1 if len(medians) > 1 else None


def _before_and_after(rounds: Sequence[Measurement], name: str) -> Iterator[tuple[Any, Any]]:
    for one in rounds:
        pair = tuple(one.conditions[when].get(name) for when in ("before", "after"))
        if None not in pair:
            yield pair[0], pair[1]


def _check_throttling(rounds: Sequence[Measurement]) -> Iterator[str]:
    bits = 0
    for before, after in _before_and_after(rounds, "throttled_bits"):
        # The current bits of both readings, and those since boot that are new in the second.
        bits |= (before | after | (after & ~before) >> 16) & 0xF
    if bits:
        names = [name for bit, name in THROTTLE_BITS.items() if bits >> bit & 1]
        yield f"vcgencmd get_throttled reports {', '.join(names)}"
    events = sum(after - before for before, after in _before_and_after(rounds, "throttle_events"))
    thermal = max(map(max, _before_and_after(rounds, "thermal_status")), default=0)
    if thermal:
        yield f"Android reports the thermal status {thermal} (1 is light, 6 is shutdown)"
    if events:
        yield f"the processor was throttled {format_count(events, 'time')} because of heat"


def _check_screen(rounds: Sequence[Measurement]) -> Iterator[str]:
    if not all(map(all, _before_and_after(rounds, "screen_on"))):
        yield "the screen was off; keep it on: adb shell svc power stayon usb"


def _check_clock_limits(rounds: Sequence[Measurement]) -> Iterator[str]:
    readings = [one for pair in _before_and_after(rounds, "clock_limits_mhz") for one in pair]
    for limit, maximum in sorted({(limit, maximum) for one in readings for limit, maximum in one}):
        if limit < maximum:
            yield f"limited to {limit} of {maximum} MHz (scaling_max_freq)"


def _check_governors(rounds: Sequence[Measurement]) -> Iterator[str]:
    if any("powersave" in one for pair in _before_and_after(rounds, "governors") for one in pair):
        yield "the governor is powersave; change it with sudo cpupower frequency-set -g performance"


def _check_cpu_quota(rounds: Sequence[Measurement]) -> Iterator[str]:
    pairs = list(_before_and_after(rounds, "cpu_quota"))
    if not pairs:
        return
    cores, threads = min(after["cores"] for _, after in pairs), max(one.threads for one in rounds)
    periods, throttled = (
        sum(after[name] - before[name] for before, after in pairs)
        for name in ("periods", "throttled_periods")
    )
    quota = f"the CPU quota of {format_count(cores, 'core')}"
    if throttled > 0:
        yield f"{quota} stopped the process in {throttled} of {format_count(periods, 'period')}"
    elif cores < threads:
        yield f"{quota} is below {format_count(threads, 'thread')}"


def _check_other_processes(rounds: Sequence[Measurement]) -> Iterator[str]:
    busy = [one.other_cores_busy for one in rounds if one.other_cores_busy is not None]
    if busy and max(busy) > _MAX_OTHER_CORES:
        yield f"other processes kept {max(busy):.1f} cores busy"
