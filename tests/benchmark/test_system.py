"""`albert_edge.benchmark.system`, on this machine and on files of other machines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from albert_edge.benchmark import system
from albert_edge.benchmark.system import (
    core_kinds,
    count_usable_cores,
    cpu_busy_s,
    cpu_quota,
    describe_machine,
    instructions,
    model_name,
    processor_name,
    read_conditions,
)
from albert_edge.datasets.options import EvaluateOptions

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
    firmware(
        {
            "get_throttled": "throttled=0x50005",
            "measure_clock arm": "frequency(0)=1500019456",
            "measure_temp": "temp=66.0'C",  # where Linux has no sensor
        }
    )
    assert read_conditions(make_root(PI)) == {
        "governors": ["ondemand"],
        "frequency_mhz": [1500],
        "clock_limits_mhz": [[2000, 2400]],
        "temperature_c": 61.2,
        "arm_clock_mhz": 1500,
        "throttled_bits": 0x50005,
        "throttle_events": None,
        "load_average": [0.52, 0.41, 0.30],
        "cpu_quota": None,
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


V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 {root} /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
STAT = "usage_usec 9\nnr_periods 50\nnr_throttled 20\nthrottled_usec 77\n"


def cpu_files(folder: str, quota: str, stat: str = STAT) -> dict[str, str]:
    """The files of a control group of version 2, or, with a folder of `cpu`, of version 1."""
    if "cpu" not in folder:
        return {f"{folder}/cpu.max": f"{quota}\n", f"{folder}/cpu.stat": stat}
    microseconds, period = quota.split()
    return {
        f"{folder}/cpu.cfs_quota_us": f"{microseconds}\n",
        f"{folder}/cpu.cfs_period_us": f"{period}\n",
        f"{folder}/cpu.stat": stat,
    }


GROUP = "sys/fs/cgroup"
QUOTAS = {
    "version 2 in a container": (
        "0::/\n",
        V2,
        cpu_files(GROUP, "20000 100000"),
        {"cores": 0.2, "periods": 50, "throttled_periods": 20},
    ),
    "version 2, the whole machine, limited above": (
        "0::/system.slice/a\\x2db.service/inner\n",
        V2,
        cpu_files(f"{GROUP}/system.slice/a\\x2db.service", "150000 100000")
        | cpu_files(f"{GROUP}/system.slice/a\\x2db.service/inner", "max 100000", ""),
        {"cores": 1.5, "periods": 50, "throttled_periods": 20},
    ),
    "version 2, two limits": (
        "0::/pod/container\n",
        V2,
        cpu_files(f"{GROUP}/pod", "50000 100000") | cpu_files(f"{GROUP}/pod/container", "9 9"),
        {"cores": 0.5, "periods": 100, "throttled_periods": 40},
    ),
    "version 2, mounted by a container of the host's name space": (
        "0::/docker/0123\n",
        "31 23 0:28 /docker/0123 /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
        cpu_files(GROUP, "400000 100000"),
        {"cores": 4.0, "periods": 50, "throttled_periods": 20},
    ),
    "version 2, a group outside of the mounted part": (
        "0::/../other\n",
        V2,
        cpu_files(GROUP, "10000 100000"),
        {"cores": 0.1, "periods": 50, "throttled_periods": 20},
    ),
    "version 1 in a container": (
        "4:cpu,cpuacct:/docker/0123\n3:cpuset:/docker/0123\n0::/docker/0123\n",
        V1.format(root="/docker/0123"),
        cpu_files(f"{GROUP}/cpu,cpuacct", "25000 100000"),
        {"cores": 0.25, "periods": 50, "throttled_periods": 20},
    ),
    "version 1, the whole machine": (
        "4:cpu,cpuacct:/user/one\n",
        V1.format(root="/"),
        cpu_files(f"{GROUP}/cpu,cpuacct/user/one", "300000 100000", "")
        | cpu_files(f"{GROUP}/cpu,cpuacct/user", "-1 100000"),
        {"cores": 3.0, "periods": 0, "throttled_periods": 0},
    ),
    "version 2, no limit": ("0::/\n", V2, cpu_files(GROUP, "max 100000"), None),
    "version 1, no limit": (
        "4:cpu,cpuacct:/\n",
        V1.format(root="/"),
        cpu_files(f"{GROUP}/cpu,cpuacct", "-1 100000"),
        None,
    ),
    "no control groups": ("", "31 23 0:28 / / rw - ext4 /dev/sda rw\n", {}, None),
    "not mounted": ("0::/a\n", "", {}, None),
    "a folder with a space": (
        "0::/\n",
        V2.replace("/sys/fs/cgroup", "/sys/fs/c\\040group"),
        cpu_files("sys/fs/c group", "20000 100000"),
        {"cores": 0.2, "periods": 50, "throttled_periods": 20},
    ),
    "damaged": ("0::/\n", V2, cpu_files(GROUP, "0 0") | {f"{GROUP}/cpu.stat": "?"}, None),
}


@pytest.mark.parametrize(
    ("group", "mounts", "files", "expected"), QUOTAS.values(), ids=QUOTAS.keys()
)
def test_the_cpu_quota_of_a_container(
    group: str,
    mounts: str,
    files: dict[str, str],
    expected: dict[str, float] | None,
    make_root: Callable[..., Path],
) -> None:
    root = make_root({"proc/self/cgroup": group, "proc/self/mountinfo": mounts, **files})
    assert cpu_quota(root) == expected
    assert read_conditions(root)["cpu_quota"] == expected


@pytest.mark.parametrize(("cores", "usable"), [(0.2, 1), (1.5, 2), (3.0, 3), (9.0, 4), (None, 4)])
def test_workers_are_no_more_than_the_cpu_quota(
    cores: float | None, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "cpu_quota", lambda: cores and {"cores": cores})
    monkeypatch.setattr(system.os, "sched_getaffinity", lambda _: range(4))
    assert count_usable_cores() == EvaluateOptions().cores == usable
    assert EvaluateOptions(workers=7).cores == 7


def test_stolen_time_is_busy_and_waiting_is_not(make_root: Callable[..., Path]) -> None:
    # user, nice, system, irq, soft irq and steal of `cpu  100 2 30 9000 50 4 5 60`, in 1/100 s
    assert cpu_busy_s(make_root(PI)) == pytest.approx(2.01)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_cpu_time_grows_on_this_machine() -> None:
    before, end = cpu_busy_s(), perf_counter() + 0.3
    while perf_counter() < end:
        pass
    assert cpu_busy_s() > before


def arm_core(index: int, part: str, features: str) -> str:
    return (
        f"processor\t: {index}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\n"
        f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: {part}\n"
        "CPU revision\t: 1\n\n"
    )


def test_a_phone_has_cores_of_two_kinds(make_root: Callable[..., Path]) -> None:
    cpu = "sys/devices/system/cpu"
    little = [arm_core(i, "0xd05", "fp asimd asimdhp asimddp") for i in range(4)]
    big = [arm_core(i, "0xd0b", "fp asimd asimdhp asimddp i8mm") for i in (4, 5)]
    strange = arm_core(6, "0xfff", "fp asimd asimddp")
    root = make_root(
        {
            "proc/cpuinfo": "".join([*little, *big, strange]),
            **{f"{cpu}/cpu{i}/cpufreq/cpuinfo_max_freq": "1800000\n" for i in range(4)},
            **{f"{cpu}/cpu{i}/cpufreq/cpuinfo_max_freq": "2400000\n" for i in (4, 5)},
        }
    )
    assert core_kinds(root) == [
        {"name": "Cortex-A76", "count": 2, "max_mhz": 2400},
        {"name": "Cortex-A55", "count": 4, "max_mhz": 1800},
        {"name": "implementer 0x41 part 0xfff", "count": 1, "max_mhz": None},
    ]
    assert instructions(root) == ["asimd", "asimddp"]  # what all of them have


def test_a_raspberry_pi_names_its_chip_and_board(make_root: Callable[..., Path]) -> None:
    cores = [arm_core(i, "0xd0b", "fp asimd") for i in range(4)]
    board = "Hardware\t: BCM2835\nRevision\t: c04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    root = make_root(
        {
            "proc/cpuinfo": "".join([*cores, board]),
            "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
        }
    )
    assert processor_name(root) == "brcm,bcm2712"
    assert core_kinds(root) == [{"name": "Cortex-A76", "count": 4, "max_mhz": None}]


# What boards really showed: the last lines of /proc/cpuinfo, after their cores, and what each of
# these says of a core.  In the order: hrw/arm-socs-table#6, nicolargo/glances#2616 (a kernel that
# no longer writes Hardware), juj/fbcp-ili9341#202 (in 32 bits).
BOARDS = {
    "Raspberry Pi 3 Model B Rev 1.2": (
        "model name\t: ARMv8 Processor rev 4 (v8l)\n",
        "Hardware\t: BCM2835\nRevision\t: a02082\nSerial\t\t: 000000002e2fe545\n",
    ),
    "Raspberry Pi 4 Model B Rev 1.5": ("", "Revision\t: d03115\nSerial\t\t: 10000000f8b73778\n"),
    "Raspberry Pi Compute Module 4 Rev 1.0": (
        "model name\t: ARMv7 Processor rev 3 (v7l)\n",
        "Hardware\t: BCM2711\nRevision\t: b03140\nSerial\t\t: 10000000e9e92548\n",
    ),
}


@pytest.mark.parametrize("board", BOARDS)
def test_the_name_of_a_board_comes_before_its_chip(
    board: str, make_root: Callable[..., Path]
) -> None:
    core, last = BOARDS[board]
    text = f"processor\t: 0\n{core}BogoMIPS\t: 108.00\n\n{last}Model\t\t: {board}\n"
    assert model_name(make_root({"proc/cpuinfo": text})) == board


def test_the_device_tree_names_a_board(make_root: Callable[..., Path]) -> None:
    tree = "Libre Computer AML-S905X-CC\0"
    files = {"proc/device-tree/model": tree, "proc/cpuinfo": "Model\t\t: another\n"}
    assert model_name(make_root(files)) == "Libre Computer AML-S905X-CC"


def test_the_name_of_an_x86_processor(make_root: Callable[..., Path]) -> None:
    lines = "processor\t: 0\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) Processor\n"
    assert model_name(make_root({"proc/cpuinfo": lines})) == "Intel(R) Xeon(R) Processor"


# ebaauw/homebridge-rpi's wiki (a Pi 3B+), batocera-linux/batocera.linux#13887 (a Pi 5), and the
# documentation's form of an error.
FIRMWARE = [
    ({"measure_clock arm": "frequency(45)=1400000000", "measure_temp": "temp=55.8'C"}, 1400, 55.8),
    ({"measure_clock arm": "frequency(0)=2400020480", "measure_temp": "temp=61.0'C"}, 2400, 61.0),
    ({"measure_clock arm": 'error=1 error_msg="Command not registered"'}, None, None),
]


@pytest.mark.parametrize(("answers", "clock_mhz", "temperature_c"), FIRMWARE)
def test_the_firmware_of_a_board_measures_clock_and_temperature(
    answers: dict[str, str],
    clock_mhz: int | None,
    temperature_c: float | None,
    make_root: Callable[..., Path],
    firmware: Callable[[dict[str, str]], None],
) -> None:
    firmware(answers)
    conditions = read_conditions(make_root({}))
    assert conditions["arm_clock_mhz"] == clock_mhz
    assert conditions["temperature_c"] == temperature_c


def test_a_firmware_that_hangs_is_given_up(
    make_root: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(system, "_FIRMWARE_S", 0.05)
    assert read_conditions(make_root({}))["throttled_bits"] is None


def test_a_machine_without_cpuinfo(make_root: Callable[..., Path]) -> None:
    root = make_root({})
    assert (processor_name(root), core_kinds(root), instructions(root)) == (None, [], [])


def test_this_machine_has_the_cores_that_it_lists() -> None:
    machine = describe_machine()
    assert sum(kind["count"] for kind in machine["core_kinds"]) >= machine["cores"]
    assert machine["ram_bytes"] > 2**28
