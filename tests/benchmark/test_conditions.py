"""`albert_edge.benchmark.system`, on this machine and on files of other machines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from albert_edge.benchmark.system import cpu_busy_s, read_conditions

CPU = "sys/devices/system/cpu"
# As a Raspberry Pi 5 shows itself, and beside its processor's sensor one of a power chip.
PI = {
    f"{CPU}/cpufreq/policy0/scaling_governor": "ondemand\n",
    f"{CPU}/cpufreq/policy0/scaling_cur_freq": "1500000\n",
    f"{CPU}/cpufreq/policy0/scaling_max_freq": "2000000\n",
    f"{CPU}/cpufreq/policy0/cpuinfo_max_freq": "2400000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61200\n",
    "sys/class/thermal/thermal_zone1/type": "charger\n",
    "sys/class/thermal/thermal_zone1/temp": "70000\n",
    "proc/loadavg": "0.52 0.41 0.30 2/190 1234\n",
    "proc/stat": "cpu  100 2 30 9000 50 4 5 60 7 0\ncpu0 100 2 30 9000 50 4 5 60 7 0\n",
}


def test_a_board_reports_every_condition(
    make_root: Callable[..., Path], firmware: Callable[[dict[str, str]], None]
) -> None:
    firmware({"get_throttled": "throttled=0x50005"})
    assert read_conditions(make_root(PI)) == {
        "governors": ["ondemand"],
        "frequency_mhz": [1500],
        "clock_limits_mhz": [[2000, 2400]],
        "temperature_c": 61.2,
        "throttled_bits": 0x50005,
        "throttle_events": None,
        "load_average": [0.52, 0.41, 0.30],
    }


def test_values_that_are_not_reported_are_none(make_root: Callable[..., Path]) -> None:
    root = make_root({})
    conditions = read_conditions(root)
    lists = {"governors", "frequency_mhz", "clock_limits_mhz"}
    assert all(conditions.pop(name) == [] for name in lists)
    assert set(conditions.values()) == {None}
    assert cpu_busy_s(root) is None


def test_an_x86_machine_counts_what_heat_did(make_root: Callable[..., Path]) -> None:
    root = make_root(
        {
            f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "3\n",
            f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "5\n",
            f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "4\n",
            "proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2596.146\n\ncpu MHz\t\t: 3100.000\n",
            "sys/class/thermal/thermal_zone0/type": "acpitz\n",
            "sys/class/thermal/thermal_zone0/temp": "0\n",
            "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone1/temp": "48000\n",
        }
    )
    conditions = read_conditions(root)
    assert conditions["throttle_events"] == 12
    assert conditions["frequency_mhz"] == [2596, 3100]
    assert conditions["temperature_c"] == 48.0


def test_an_error_of_the_firmware_is_not_a_value(
    make_root: Callable[..., Path], firmware: Callable[[dict[str, str]], None]
) -> None:
    firmware({"get_throttled": "error=1 error_msg=..."})
    assert read_conditions(make_root({}))["throttled_bits"] is None


def test_stolen_time_is_busy_and_waiting_is_not(make_root: Callable[..., Path]) -> None:
    # user, nice, system, irq, soft irq and steal of `cpu  100 2 30 9000 50 4 5 60`, in 1/100 s
    assert cpu_busy_s(make_root(PI)) == pytest.approx(2.01)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_cpu_time_grows_on_this_machine() -> None:
    before, end = cpu_busy_s(), perf_counter() + 0.3
    while perf_counter() < end:
        pass
    assert cpu_busy_s() > before
