"""`albert_edge.benchmark.memory_energy`, on this very process."""

from __future__ import annotations

import mmap
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from albert_edge.benchmark.memory_energy import (
    measure_energy,
    parse_pmic_watts,
    rapl_joules,
    read_memory,
    read_peak_bytes,
    read_rapl,
    reset_peak,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
BLOCK = 64 * 2**20
# What else this process may do meanwhile; and the kernel's own counters lag by some pages.
SLACK = 8 * 2**20


def fill_block() -> mmap.mmap:
    """`BLOCK` bytes of memory that this process did not have before: `malloc` may give back some of
    what was freed, which counts already."""
    block = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, BLOCK, mmap.PAGESIZE):
        block[start] = 1
    return block


def test_what_is_allocated_and_written_is_seen() -> None:
    before = read_memory()
    block = fill_block()
    after = read_memory()
    assert before is not None
    assert after is not None
    assert abs(after["anonymous_bytes"] - before["anonymous_bytes"] - len(block)) < SLACK
    assert after["rss_bytes"] == after["anonymous_bytes"] + after["file_bytes"]


def test_the_peak_outlasts_the_memory_until_it_is_reset() -> None:
    if not reset_peak():
        pytest.skip("this kernel does not let a process reset its peak")
    before = read_peak_bytes()
    fill_block().close()
    assert read_peak_bytes() - before > BLOCK - SLACK
    assert reset_peak()
    assert read_peak_bytes() - before < SLACK


POWERCAP = "sys/class/powercap"
RAPL = {
    f"{POWERCAP}/intel-rapl:0/name": "package-0\n",
    f"{POWERCAP}/intel-rapl:0/energy_uj": "900000\n",
    f"{POWERCAP}/intel-rapl:0/max_energy_range_uj": "1000000\n",
    f"{POWERCAP}/intel-rapl:0:0/name": "core\n",
    f"{POWERCAP}/intel-rapl:0:0/energy_uj": "800000\n",
    f"{POWERCAP}/intel-rapl:0:0/max_energy_range_uj": "1000000\n",
}
# Lines of a Raspberry Pi 5: a rail's current, the same one's voltage, and a voltage alone.
PMIC = """\
 3V7_WL_SW_A current(0)=0.10000000A
   VDD_CORE_A current(7)=1.50000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   VDD_CORE_V volt(15)=0.80000000V
      EXT5V_V volt(24)=5.14596000V
"""


def test_packages_are_read_and_their_parts_are_not_added(make_root: Callable[..., Path]) -> None:
    assert read_rapl(make_root(RAPL)) == {"intel-rapl:0": (900_000, 1_000_000)}


def test_a_counter_that_wrapped_goes_on() -> None:
    before = {"a": (900_000, 1_000_000), "b": (5, 10)}
    after = {"a": (100_000, 1_000_000), "b": (7, 10)}
    assert rapl_joules(before, after) == pytest.approx(0.200002)


def test_energy_of_an_inference_is_what_the_counter_rose_by(make_root: Callable[..., Path]) -> None:
    zone = f"{POWERCAP}/intel-rapl:0"
    root = make_root({**RAPL, f"{zone}/max_energy_range_uj": "262143328850\n"})
    counter = root / zone / "energy_uj"
    energy = measure_energy(
        lambda: counter.write_text(f"{int(counter.read_text()) + 30_000}\n"),
        min_time_s=0.01,
        root=root,
    )
    assert energy.pop("n") >= 1
    assert energy == {"joules": pytest.approx(0.03), "source": "rapl", "reason": None}


def test_rails_are_summed_and_an_input_without_a_current_is_not_guessed() -> None:
    assert parse_pmic_watts(PMIC) == pytest.approx(0.1 * 3.7 + 1.5 * 0.8)
    assert parse_pmic_watts('error=1 error_msg="Command not registered"') == 0


def test_a_power_chip_is_read_during_inference(
    make_root: Callable[..., Path], firmware: Callable[[dict[str, str]], None]
) -> None:
    firmware({"pmic_read_adc": PMIC})
    energy = measure_energy(lambda: time.sleep(0.05), min_time_s=0.1, root=make_root({}))
    assert energy["source"] == "pmic"
    # 1.57 W over at least 0.05 s each.
    assert energy["joules"] >= 1.57 * 0.05


def test_a_machine_without_counters_gives_the_reason(make_root: Callable[..., Path]) -> None:
    energy = measure_energy(lambda: None, min_time_s=0, root=make_root({}))
    assert energy == {
        "joules": None,
        "source": None,
        "n": None,
        "reason": "no RAPL counters and no vcgencmd pmic_read_adc",
    }


def test_counters_without_permission_give_the_reason(make_root: Callable[..., Path]) -> None:
    files = {name: text for name, text in RAPL.items() if not name.endswith("energy_uj")}
    energy = measure_energy(lambda: None, min_time_s=0, root=make_root(files))
    assert energy["joules"] is None
    assert "root only" in energy["reason"]
