"""What makes a measurement doubtful.  Each doubt has a code that never changes its meaning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from albert_edge.benchmark.conditions import THROTTLE_BITS
from albert_edge.benchmark.measure import Measurement

__all__ = ["CODES", "doubts", "doubts_of_conditions", "spread"]

CODES = {
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


def doubts(rounds: Sequence[Measurement]) -> list[dict[str, str]]:
    """List what makes a configuration's rounds doubtful: the `code` and a `message` of each."""
    found = [("noisy", text) for text in _noise(rounds)]
    if len(rounds) == 1:
        found.append(("unrepeated", "one round only; more would tell how far they are apart"))
    return doubts_of_conditions(rounds) + _listed(found)


def doubts_of_conditions(rounds: Sequence[Measurement]) -> list[dict[str, str]]:
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
