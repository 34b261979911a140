"""`albert_edge.benchmark.statistics`: warnings about doubtful measurements, and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.statistics import WARNING_CODES, find_warnings, spread

CALM = {
    "governors": ["ondemand"],
    "frequency_mhz": [2400],
    "clock_limits_mhz": [[2400, 2400]],
    "temperature_c": 55.0,
    "throttled_bits": 0,
    "throttle_events": 7,
    "load_average": [0.1, 0.1, 0.1],
}


@pytest.fixture
def rounds(measurement: Measurement) -> Callable[..., list[Measurement]]:
    """A function that makes three calm rounds, of which the second is as the arguments say."""

    def make(
        before: dict[str, Any] | None = None, after: dict[str, Any] | None = None, **fields: Any
    ) -> list[Measurement]:
        calm = dataclasses.replace(
            measurement, conditions={"before": CALM, "after": CALM}, other_cores_busy=0.05
        )
        conditions = {"before": CALM | (before or {}), "after": CALM | (after or {})}
        return [calm, dataclasses.replace(calm, conditions=conditions, **fields), calm]

    return make


def codes(rounds: list[Measurement]) -> list[str]:
    found = find_warnings(rounds)
    assert all(WARNING_CODES[doubt["code"]] and doubt["message"] for doubt in found)
    return [doubt["code"] for doubt in found]


def test_a_calm_machine_is_not_doubted(rounds: Callable[..., list[Measurement]]) -> None:
    assert codes(rounds()) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"throttled_bits": 0x4}, ["throttled"]),  # throttled now
        ({"throttled_bits": 0x1}, {}, ["throttled"]),  # under-voltage before
        ({}, {"throttled_bits": 0x80000}, ["throttled"]),  # since booting, and new
        ({"throttled_bits": 0x50000}, {"throttled_bits": 0x50000}, []),  # long ago
        ({}, {"throttle_events": 9}, ["throttled"]),
        ({}, {"clock_limits_mhz": [[1500, 2400]]}, ["clock-limited"]),
        ({"governors": ["performance", "powersave"]}, {}, ["powersave"]),
        (dict.fromkeys(CALM), dict.fromkeys(CALM), []),  # untold
    ],
)
def test_what_the_machine_says_is_marked(
    before: dict[str, Any],
    after: dict[str, Any],
    expected: list[str],
    rounds: Callable[..., list[Measurement]],
) -> None:
    assert codes(rounds(before, after)) == expected


def test_throttling_says_why(rounds: Callable[..., list[Measurement]]) -> None:
    (doubt,) = find_warnings(rounds({}, {"throttled_bits": 0x50005}))
    assert "under-voltage, throttled" in doubt["message"]


def test_others_at_work_are_marked(rounds: Callable[..., list[Measurement]]) -> None:
    assert codes(rounds(other_cores_busy=1.4)) == ["busy"]
    assert codes(rounds(other_cores_busy=None)) == []


def test_rounds_that_are_far_apart_are_marked(rounds: Callable[..., list[Measurement]]) -> None:
    base = rounds()[0].latency_ms
    for factor, expected in ((1.04, []), (1.07, ["noisy"]), (0.9, ["noisy"])):
        samples = (round(base * factor * 1e6),) * 30
        assert codes(rounds(samples_ns=samples)) == expected


def test_the_spread_is_over_the_least(rounds: Callable[..., list[Measurement]]) -> None:
    three = rounds(samples_ns=(round(rounds()[0].latency_ms * 2e6),))
    assert spread(three) == pytest.approx(1.0, abs=1e-4)


def test_one_round_alone_is_marked(rounds: Callable[..., list[Measurement]]) -> None:
    assert codes(rounds()[:1]) == ["unrepeated"]
    assert spread(rounds()[:1]) is None
