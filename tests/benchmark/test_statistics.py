"""`albert_edge.benchmark.statistics`: warnings about doubtful measurements, and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.statistics import WARNING_CODES, find_warnings, spread

QUIET = {
    "governors": ["ondemand"],
    "frequency_mhz": [2400],
    "clock_limits_mhz": [[2400, 2400]],
    "temperature_c": 55.0,
    "throttled_bits": 0,
    "throttle_events": 7,
    "load_average": [0.1, 0.1, 0.1],
    "cpu_quota": {"cores": 2.0, "periods": 100, "throttled_periods": 7},
}


def quota(cores: float, periods: int, throttled: int) -> dict[str, float]:
    return {"cores": cores, "periods": periods, "throttled_periods": throttled}


@pytest.fixture
def rounds(measurement: Measurement) -> Callable[..., list[Measurement]]:
    """A function that makes three quiet rounds, of which the second is as the arguments say."""

    def make(
        before: dict[str, Any] | None = None, after: dict[str, Any] | None = None, **fields: Any
    ) -> list[Measurement]:
        quiet = dataclasses.replace(
            measurement, conditions={"before": QUIET, "after": QUIET}, other_cores_busy=0.05
        )
        conditions = {"before": QUIET | (before or {}), "after": QUIET | (after or {})}
        return [quiet, dataclasses.replace(quiet, conditions=conditions, **fields), quiet]

    return make


def codes(rounds: list[Measurement]) -> list[str]:
    found = find_warnings(rounds)
    assert all(WARNING_CODES[warning["code"]] and warning["message"] for warning in found)
    return [warning["code"] for warning in found]


def test_a_quiet_machine_gives_no_warnings(rounds: Callable[..., list[Measurement]]) -> None:
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
        ({}, {"cpu_quota": quota(2.0, 160, 9)}, ["cpu-quota"]),  # it had to wait
        ({"cpu_quota": quota(0.2, 100, 7)}, {"cpu_quota": quota(0.2, 140, 7)}, ["cpu-quota"]),
        ({"cpu_quota": None}, {"cpu_quota": quota(2.0, 5, 3)}, []),  # set in the middle
        ({"screen_on": True}, {"screen_on": True}, []),
        ({"screen_on": True}, {"screen_on": False}, ["screen-off"]),  # in the middle
        ({"thermal_status": 0}, {"thermal_status": 2}, ["throttled"]),
        ({"thermal_status": 0}, {"thermal_status": 0}, []),
        ({"thermal_status": None, "screen_on": None}, {}, []),
        (dict.fromkeys(QUIET), dict.fromkeys(QUIET), []),  # not reported
    ],
)
def test_the_state_of_the_machine_gives_warnings(
    before: dict[str, Any],
    after: dict[str, Any],
    expected: list[str],
    rounds: Callable[..., list[Measurement]],
) -> None:
    assert codes(rounds(before, after)) == expected


def test_throttling_names_the_cause(rounds: Callable[..., list[Measurement]]) -> None:
    (warning,) = find_warnings(rounds({}, {"throttled_bits": 0x50005}))
    assert "under-voltage, throttled" in warning["message"]


def test_a_cpu_quota_says_how_often_it_stopped_the_process(
    rounds: Callable[..., list[Measurement]],
) -> None:
    (warning,) = find_warnings(rounds({}, {"cpu_quota": quota(2.0, 160, 9)}))
    assert warning["message"] == "the CPU quota of 2 cores stopped the process in 2 of 60 periods"
    low = {"cpu_quota": quota(0.2, 100, 7)}
    (warning,) = find_warnings(rounds(low, low))
    assert warning["message"] == "the CPU quota of 0.2 cores is below 1 thread"


def test_a_report_without_a_cpu_quota_gives_no_warning(
    rounds: Callable[..., list[Measurement]],
) -> None:
    older = {name: value for name, value in QUIET.items() if name != "cpu_quota"}
    three = [
        dataclasses.replace(one, conditions={"before": older, "after": older}) for one in rounds()
    ]
    assert codes(three) == []


def test_other_processes_give_a_warning(rounds: Callable[..., list[Measurement]]) -> None:
    assert codes(rounds(other_cores_busy=1.4)) == ["busy"]
    assert codes(rounds(other_cores_busy=None)) == []


def test_rounds_that_are_far_apart_give_a_warning(rounds: Callable[..., list[Measurement]]) -> None:
    base = rounds()[0].latency_ms
    for factor, expected in ((1.04, []), (1.07, ["noisy"]), (0.9, ["noisy"])):
        samples = (round(base * factor * 1e6),) * 30
        assert codes(rounds(samples_ns=samples)) == expected


def test_the_spread_is_over_the_least(rounds: Callable[..., list[Measurement]]) -> None:
    three = rounds(samples_ns=(round(rounds()[0].latency_ms * 2e6),))
    assert spread(three) == pytest.approx(1.0, abs=1e-4)


def test_a_single_round_gives_a_warning(rounds: Callable[..., list[Measurement]]) -> None:
    assert codes(rounds()[:1]) == ["unrepeated"]
    assert spread(rounds()[:1]) is None
