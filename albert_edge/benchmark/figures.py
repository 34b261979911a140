"""A measurement's figures as JSON, with their units, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albert_edge.benchmark.measure import Measurement, pool

__all__ = ["figures", "latencies", "restore_rounds", "round_figures"]

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


def figures(rounds: Sequence[Measurement]) -> dict[str, Any]:
    """Sum up the rounds of one configuration: all samples, and medians of the rest."""
    one = pool(rounds)
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
