"""The state of the machine at one moment: clock, heat, throttling, and who else computes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

__all__ = ["THROTTLE_BITS", "cpu_busy_s", "read_conditions", "read_text", "vcgencmd"]

ROOT = Path("/")
# `vcgencmd get_throttled` on a Raspberry Pi: now, and 16 bits higher whether it was since booting.
THROTTLE_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "temperature limit"}
# Zones of these kinds are the processor; others are batteries, radios, disks.
_PROCESSOR_ZONE = re.compile(r"cpu|soc|pkg|core|big|little", re.IGNORECASE)


def read_conditions(root: Path = ROOT) -> dict[str, Any]:
    """Read what may change while a model is measured, ready for JSON.

    Args:
        root: Where `/proc` and `/sys` lie.

    Returns:
        `governors`, the distinct ones; `frequency_mhz`, of each group of cores that share a clock;
        `clock_limits_mhz`, the highest that each may have now and the highest it can have;
        `temperature_c`, the hottest of the processor; `throttled_bits`, as `vcgencmd get_throttled`
        gives them; `throttle_events`, how often an x86 core was slowed since booting;
        `load_average` over 1, 5 and 15 minutes.  What the machine does not tell is None, or empty.
    """
    policies = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))
    governors = {read_text(policy / "scaling_governor") for policy in policies}
    return {
        "governors": sorted(name for name in governors if name),
        "frequency_mhz": _frequencies(root, policies),
        "clock_limits_mhz": [limit for policy in policies if (limit := _limit(policy))],
        "temperature_c": _temperature(root),
        "throttled_bits": _throttled_bits(),
        "throttle_events": _throttle_events(root),
        "load_average": _load_average(root),
    }


def cpu_busy_s(root: Path = ROOT) -> float | None:
    """Read how many seconds all cores have worked since booting, for whomever; None if untold.

    What a hypervisor took away (steal) counts: it slows a measurement as another process would.
    """
    fields = (read_text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def read_text(path: Path) -> str | None:
    """Read a file of the kernel's, without its last line end; None if there is none to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n\0")
    except OSError:
        return None


def vcgencmd(*command: str) -> str | None:
    """Ask a Raspberry Pi's firmware; None where there is none, or it does not know."""
    import shutil
    import subprocess

    if (program := shutil.which("vcgencmd")) is None:
        return None
    done = subprocess.run([program, *command], capture_output=True, text=True)  # noqa: S603 (the firmware's own tool)
    return done.stdout.strip() if done.returncode == 0 else None


def _frequencies(root: Path, policies: list[Path]) -> list[int]:
    clocks = [read_text(policy / "scaling_cur_freq") for policy in policies]
    if known := [int(clock) // 1000 for clock in clocks if clock and clock.isdecimal()]:
        return known
    text = read_text(root / "proc/cpuinfo") or ""
    return [round(float(mhz)) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", text, re.M)]


def _limit(policy: Path) -> list[int] | None:
    clocks = [read_text(policy / name) or "" for name in ("scaling_max_freq", "cpuinfo_max_freq")]
    known = all(clock.isdecimal() for clock in clocks)
    return [int(clock) // 1000 for clock in clocks] if known else None


def _temperature(root: Path) -> float | None:
    zones = [
        (read_text(zone / "type") or "", read_text(zone / "temp") or "")
        for zone in (root / "sys/class/thermal").glob("thermal_zone*")
    ]
    of_processor = [zone for zone in zones if _PROCESSOR_ZONE.search(zone[0])] or zones
    degrees = [int(milli) / 1000 for _, milli in of_processor if re.fullmatch(r"-?\d+", milli)]
    # A sensor that is switched off reads 0 or an absurd value.
    return max((one for one in degrees if 0 < one < 150), default=None)


def _throttled_bits() -> int | None:
    match = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", vcgencmd("get_throttled") or "")
    return int(match[1], 16) if match else None


def _throttle_events(root: Path) -> int | None:
    counters = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [int(text) for path in counters if (text := read_text(path)) and text.isdecimal()]
    return sum(counts) if counts else None


def _load_average(root: Path) -> list[float] | None:
    text = read_text(root / "proc/loadavg")
    return [float(word) for word in text.split()[:3]] if text else None
