"""A measurement's figures as JSON, with their units, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from albert_edge.benchmark.measure import Measurement, aggregate_rounds
from albert_edge.benchmark.system import THROTTLE_BITS
from albert_edge.errors import DeviceError, FidelityError

__all__ = [
    "WARNING_CODES",
    "find_warnings",
    "float32_error",
    "latencies",
    "raise_on_failures",
    "rank",
    "restore_rounds",
    "round_figures",
    "spread",
    "summarize_rounds",
    "system_warnings",
]

# What one round's figures and all rounds' figures have in common, under the same names.
_SHARED = (
    "import_ms",
    "load_ms",
    "first_ms",
    "latency_ms",
    "other_cores_busy",
    "memory",
    "peak_rss_bytes",
    "arena_bytes",
    "energy",
    "conditions",
)
_KINDS = ("rss", "anonymous", "file", "pss")
_SAME_IN_EVERY_ROUND = (
    "size_bytes",
    "task",
    "quantize",
    "layout",
    "engine",
    "threads",
    "runtime",
    "delegate",
    "operators",
    "operators_delegated",
    "outputs_sha256",
)
WARNING_CODES = {
    "throttled": "The machine slowed itself down: heat, or too little voltage.",
    "clock-limited": "The clock may not go as high as the processor can.",
    "powersave": "A core ran under the powersave governor.",
    "busy": "Other processes, or other guests of the same host, were computing meanwhile.",
    "noisy": "The medians of the rounds are more than 5% apart: another run may well differ.",
    "unrepeated": "It was measured in one round only: nothing tells how far another would be off.",
}
_MOST_SPREAD = 0.05
# Of a core, on average.  An idle desktop uses 0.02 to 0.1, and the kernel's count is off by 0.04
# over half a second.
_MOST_OTHERS = 0.2


def summarize_rounds(rounds: Sequence[Measurement]) -> dict[str, Any]:
    """Sum up the rounds of one configuration: all samples, and medians of the rest."""
    one = aggregate_rounds(rounds)
    seconds = sum(one.samples_ns) / 1e9
    return {
        **{name: getattr(one, name) for name in _SAME_IN_EVERY_ROUND},
        **{name: getattr(one, name) for name in _SHARED},
        "seq_len": len(one.input_ids),
        "input_ids": list(one.input_ids),
        **({"layers_used": one.layers_used} if one.layers_used else {}),
        **latencies(one.samples_ns),
        "cpu_ms": one.cpu_ms,
        "inferences_per_s": len(one.samples_ns) / seconds,
        "tokens_per_s": len(one.samples_ns) * len(one.input_ids) / seconds,
        "samples_ns": list(one.samples_ns),
        "cpu_samples_ns": list(one.cpu_samples_ns),
        "end_to_end": _end_to_end(one),
        "empty_rss_bytes": one.empty_rss_bytes,
        **{f"model_{kind}_bytes": one.model_bytes(kind) for kind in _KINDS},
    }


def latencies(samples_ns: Sequence[int]) -> dict[str, Any]:
    """Sum up samples: `latency_ms` (the median), `_p90_`, `_p99_` and `_min_`, and `n`.

    A percentile is the smallest sample that so many per cent of them do not exceed.
    """
    p90, p99 = np.percentile(samples_ns, (90, 99), method="inverted_cdf") / 1e6
    return {
        "latency_ms": float(np.median(samples_ns)) / 1e6,
        "latency_p90_ms": float(p90),
        "latency_p99_ms": float(p99),
        "latency_min_ms": min(samples_ns) / 1e6,
        "n": len(samples_ns),
    }


def round_figures(one: Measurement) -> dict[str, Any]:
    """Sum up one round: what `restore_rounds` cannot take from the figures of all rounds."""
    return {
        **{name: getattr(one, name) for name in _SHARED},
        "n": len(one.samples_ns),
        "text_n": len(one.text_samples_ns),
    }


def restore_rounds(row: Mapping[str, Any]) -> list[Measurement]:
    """Make the rounds again, without outputs, of `figures` and their `rounds`.

    Raises:
        KeyError: A field is missing.
    """
    rounds, text_samples = [], (row["end_to_end"] or {"samples_ns": []})["samples_ns"]
    at = text_at = 0
    for one in row["rounds"]:
        to, text_to = at + one["n"], text_at + one["text_n"]
        rounds.append(
            Measurement(
                path=row["path"],
                **{name: row[name] for name in _SAME_IN_EVERY_ROUND},
                **{name: one[name] for name in _SHARED if name != "latency_ms"},
                layers_used=row.get("layers_used"),
                input_ids=tuple(row["input_ids"]),
                samples_ns=tuple(row["samples_ns"][at:to]),
                cpu_samples_ns=tuple(row["cpu_samples_ns"][at:to]),
                text_samples_ns=tuple(text_samples[text_at:text_to]),
                outputs=(),
            )
        )
        at, text_at = to, text_to
    return rounds


def _end_to_end(one: Measurement) -> dict[str, Any] | None:
    if not one.text_samples_ns:
        return None
    return {**latencies(one.text_samples_ns), "samples_ns": list(one.text_samples_ns)}


# What a report comes to: which configuration is the fastest, and whether all is right.


def rank(rows: Sequence[dict[str, Any]]) -> None:
    """Give every `ok` row its `rank` by median among the rows of its length, from 1."""
    for row in rows:
        row["rank"] = None
    for seq_len in {row["seq_len"] for row in rows}:
        right = [row for row in rows if row["seq_len"] == seq_len and row["status"] == "ok"]
        for place, row in enumerate(sorted(right, key=lambda row: row["latency_ms"]), 1):
            row["rank"] = place


def float32_error(row: Mapping[str, Any]) -> float | None:
    """Return how far a row's worst output is off from float32, as a share of float32's size.

    That is from the float32 file of the same checkpoint among the files, or else, as it was when
    the file was made, from the Keras model; None if neither is known or an output is not finite.
    """
    found = row["fidelity"]
    if found is None or found["reference"]["quantize"] != "float32":
        found = row["verification"]
    errors = [output["error"] for output in (found or {}).get("outputs", {}).values()]
    return None if not errors or None in errors else max(errors)


def raise_on_failures(document: Mapping[str, Any]) -> None:
    """Refuse a report in which something failed or answers wrongly.

    Raises:
        DeviceError: A configuration failed.
        FidelityError: None did, but an output is off by more than its recipe's limit.
    """
    rows = document["rows"]
    failed = [f"{_what(row)}: {row['error']['message']}" for row in rows if row["error"]]
    wrong = [f"{_what(row)}: {_wrong(row['fidelity'])}" for row in rows if row["status"] == "wrong"]
    if failed or wrong:
        kind = DeviceError if failed else FidelityError
        lines = "".join(f"\n  {line}" for line in failed + wrong)
        raise kind(f"{len(failed)} of {len(rows)} failed, {len(wrong)} answer wrongly:{lines}")


def _what(row: Mapping[str, Any]) -> str:
    return f"{row['name']} ({row['accelerator']}, {row['threads']} threads, T={row['seq_len']})"


def _wrong(fidelity: Mapping[str, Any]) -> str:
    errors = {name: one["error"] for name, one in fidelity["outputs"].items()}
    broken = [name for name, error in errors.items() if error is None]
    if broken:
        return f"{broken[0]} is not finite, or of another shape than the reference's."
    name = max(errors, key=lambda name: errors[name])
    return (
        f"{name} is off by {errors[name]:.3g} of the size of {fidelity['reference']['name']}'s; "
        f"at most {fidelity['limit']:g} is allowed."
    )


# What makes a measurement doubtful.  Each doubt has a code that never changes its meaning.


def find_warnings(rounds: Sequence[Measurement]) -> list[dict[str, str]]:
    """List what makes a configuration's rounds doubtful: the `code` and a `message` of each."""
    found = [("noisy", text) for text in _noise(rounds)]
    if len(rounds) == 1:
        found.append(("unrepeated", "one round only; more would tell how far they are apart"))
    return system_warnings(rounds) + _listed(found)


def system_warnings(rounds: Sequence[Measurement]) -> list[dict[str, str]]:
    """List what was doubtful about the machine, without comparing the rounds."""
    finders = {
        "throttled": _throttling,
        "clock-limited": _limits,
        "powersave": _governors,
        "busy": _others,
    }
    return _listed((code, text) for code, find in finders.items() for text in find(rounds))


def _listed(found: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"code": code, "message": message} for code, message in found]


def spread(rounds: Sequence[Measurement]) -> float | None:
    """Return how far the medians of the rounds are apart, as a share of the least; None of one."""
    medians = [one.latency_ms for one in rounds]
    return max(medians) / min(medians) - 1 if len(medians) > 1 else None


def _pairs(rounds: Sequence[Measurement], name: str) -> Iterator[tuple[Any, Any]]:
    for one in rounds:
        pair = tuple(one.conditions[when].get(name) for when in ("before", "after"))
        if None not in pair:
            yield pair[0], pair[1]


def _throttling(rounds: Sequence[Measurement]) -> Iterator[str]:
    bits = 0
    for before, after in _pairs(rounds, "throttled_bits"):
        # Now, at either end; or since booting, if that is new.
        bits |= (before | after | (after & ~before) >> 16) & 0xF
    if bits:
        names = [name for bit, name in THROTTLE_BITS.items() if bits >> bit & 1]
        yield f"vcgencmd get_throttled says {', '.join(names)}"
    events = sum(after - before for before, after in _pairs(rounds, "throttle_events"))
    if events:
        yield f"the processor was slowed {events} times because of heat"


def _limits(rounds: Sequence[Measurement]) -> Iterator[str]:
    ends = [end for pair in _pairs(rounds, "clock_limits_mhz") for end in pair]
    for limit, most in sorted({(limit, most) for end in ends for limit, most in end}):
        if limit < most:
            yield f"limited to {limit} of {most} MHz (scaling_max_freq)"


def _governors(rounds: Sequence[Measurement]) -> Iterator[str]:
    if any("powersave" in names for pair in _pairs(rounds, "governors") for names in pair):
        yield "the governor is powersave; sudo cpupower frequency-set -g performance changes it"


def _others(rounds: Sequence[Measurement]) -> Iterator[str]:
    busy = [one.other_cores_busy for one in rounds if one.other_cores_busy is not None]
    if busy and max(busy) > _MOST_OTHERS:
        yield f"others kept {max(busy):.1f} cores busy"


def _noise(rounds: Sequence[Measurement]) -> Iterator[str]:
    apart = spread(rounds)
    if apart is not None and apart > _MOST_SPREAD:
        medians = ", ".join(f"{one.latency_ms:.3g}" for one in rounds)
        yield f"the rounds' medians are {apart:.0%} apart: {medians} ms"
