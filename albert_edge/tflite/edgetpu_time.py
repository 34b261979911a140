"""Estimate how long an Edge TPU takes, from calls, bytes and multiply-adds; and a Raspberry Pi.

No device was at hand.  `edgetpu_time.json` has what Coral published of its models on three links,
and others of the boards' CPUs, with the sources; the tests compare the formula with Coral's times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from albert_edge.tflite.gpu_rules import read_rules

__all__ = ["estimate_time"]

_FILE = "edgetpu_time.json"
_MARGIN = 1.25  # of published times, the formula gave up to 22% less
FORMULA = (
    "calls · time of a call + (input + output + streamed bytes) / rate of the link "
    "+ multiply-adds / 2·10¹² per second"
)


def estimate_time(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Estimate how long the operators that an Edge TPU runs take, there and on the CPU beside it.

    The operators that are left to the CPU are in neither.  How long a call takes besides is known
    between two bounds only.

    Args:
        figures: What `edgetpu_rules.check_edgetpu` or `sum_of_files` returned.

    Returns:
        Figures ready for JSON: the `formula`; `boards`, for each its `name`, the `link`, what the
        estimate adds up (`call_ms`, two bounds, `transfer_ms`, `streaming_ms`, `compute_ms`), their
        sum `edgetpu_ms` (two bounds), `cpu_ms`, what is `faster` (`edgetpu`, if it is so by 25% at
        the upper bound; `cpu`; or None if that is not known), and `sources`.
    """
    known = read_rules(_FILE)
    compute_ms = figures["multiply_adds"] / known["multiply_adds_per_s"] * 1e3
    return {
        "formula": FORMULA,
        "boards": [_on_board(board, figures, compute_ms, known) for board in known["boards"]],
    }


def sum_of_files(files: Iterable[tuple[Mapping[str, Any], int]]) -> dict[str, Any]:
    """Add up what files that are compiled together need for one inference.

    Args:
        files: What `check_edgetpu` returned of each, and how often it runs in an inference.

    Returns:
        `weights`, `transfers` and `multiply_adds` as of one file.  The files share the chip's
        memory: what does not fit of all of them is sent again whenever each of them has run.
    """
    files = list(files)
    size = sum(figures["weights"]["bytes"] for figures, _ in files)
    stored = sum(figures["weights"]["stored_bytes"] for figures, _ in files)
    cache = min(figures["weights"]["cache_bytes"] for figures, _ in files)
    passes = max((count for _, count in files), default=0)
    moved = ("calls", "input_bytes", "output_bytes")
    return {
        "weights": {
            "bytes": size,
            "stored_bytes": stored,
            "cache_bytes": cache,
            "streamed_bytes": max(0, size - cache) * passes,
            "duplicated": any(figures["weights"]["duplicated"] for figures, _ in files),
        },
        "transfers": {
            name: sum(figures["transfers"][name] * count for figures, count in files)
            for name in moved
        },
        "multiply_adds": sum(figures["multiply_adds"] * count for figures, count in files),
    }


def _on_board(
    board: Mapping[str, Any],
    figures: Mapping[str, Any],
    compute_ms: float,
    known: Mapping[str, Any],
) -> dict[str, Any]:
    moved, streamed = figures["transfers"], figures["weights"]["streamed_bytes"]
    call_ms = [moved["calls"] * bound for bound in board["call_ms"]]
    transfer_ms = (moved["input_bytes"] + moved["output_bytes"]) / board["bytes_per_s"] * 1e3
    streaming_ms = streamed / board["bytes_per_s"] * 1e3
    edgetpu_ms = [bound + transfer_ms + streaming_ms + compute_ms for bound in call_ms]
    cpu_ms = figures["multiply_adds"] / board["cpu_multiply_adds_per_s"] * 1e3
    return {
        "name": board["name"],
        "link": board["link"],
        "call_ms": call_ms,
        "transfer_ms": transfer_ms,
        "streaming_ms": streaming_ms,
        "compute_ms": compute_ms,
        "edgetpu_ms": edgetpu_ms,
        "cpu_ms": cpu_ms,
        "faster": _faster(edgetpu_ms, cpu_ms),
        "sources": {
            "link": f"{board['link_of']} in {known['link_source']}",
            "call": known["call_ms_source"],
            "compute": known["multiply_adds_source"],
            "cpu": board["cpu_source"],
        },
    }


def _faster(edgetpu_ms: list[float], cpu_ms: float) -> str | None:
    least, most = edgetpu_ms
    if cpu_ms < least:
        return "cpu"
    return "edgetpu" if most * _MARGIN < cpu_ms else None
