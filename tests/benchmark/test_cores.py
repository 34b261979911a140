"""`albert_edge.benchmark.system`, on /proc and /sys of boards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from albert_edge.benchmark.system import core_kinds, describe_machine, instructions, processor_name


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


def test_a_machine_without_cpuinfo(make_root: Callable[..., Path]) -> None:
    root = make_root({})
    assert (processor_name(root), core_kinds(root), instructions(root)) == (None, [], [])


def test_this_machine_has_the_cores_that_it_lists() -> None:
    machine = describe_machine()
    assert sum(kind["count"] for kind in machine["core_kinds"]) >= machine["cores"]
    assert machine["ram_bytes"] > 2**28
