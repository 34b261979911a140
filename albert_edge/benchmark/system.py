"""The machine of a measurement: its hardware and versions, and its state at one moment.

`describe_machine` reports both; `read_conditions` only the state: clock, temperature, throttling
and load.
"""

from __future__ import annotations

import math
import os
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

__all__ = ["THROTTLE_BITS", "count_usable_cores", "describe_machine", "machine_id"]

# Packages whose version may affect a measurement.
_PACKAGES = ("albert_edge", "ai-edge-litert", "tflite-runtime", "numpy", "tensorflow", "tf_keras")
# Arm's part numbers (MIDR_EL1, implementer 0x41) of cores found in boards and phones.
_ARM_PARTS = {
    0xC07: "Cortex-A7",
    0xC0F: "Cortex-A15",
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD49: "Neoverse-N2",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD4F: "Neoverse-V2",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
    0xD82: "Cortex-X4",
}
# Instruction sets that decide the speed of quantized matrix products, by /proc/cpuinfo's names.
_INSTRUCTIONS = (
    *("asimd", "asimdhp", "asimddp", "i8mm", "sve", "sme", "avx2", "avx_vnni", "avx512f"),
    *("avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "amx_tile"),
)
# Those of them that multiply and add int8 at once: without one, int8 is as slow as float32.
INT8_DOTS = frozenset({"asimddp", "i8mm", "avx_vnni", "avx512_vnni", "amx_int8"})
ROOT = Path("/")
_FIRMWARE_S = 5.0
# Bits of `vcgencmd get_throttled` on a Raspberry Pi: now; 16 bits higher: at any time since boot.
THROTTLE_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "temperature limit"}
# Types of thermal zones of the processor; others are batteries, radios, disks.
_PROCESSOR_ZONE = re.compile(r"cpu|soc|pkg|core|big|little", re.IGNORECASE)


def describe_machine() -> dict[str, Any]:
    """Describe this machine, ready for JSON.

    Returns:
        `model` (the board's or the processor's name), `processor` (the chip), `cores` that this
        process may use, `core_kinds` and `instructions` of the whole machine, `ram_bytes`,
        `architecture`, `system`, `kernel`, `python`, `versions` of the packages by name, and the
        current `conditions`.

    Example:
        >>> describe_machine()["cores"] >= 1
        True
    """
    return {
        "model": model_name(),
        "processor": processor_name(),
        "cores": _count_cores(),
        "core_kinds": core_kinds(),
        "instructions": instructions(),
        "ram_bytes": _ram_bytes(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": _versions(),
        "conditions": read_conditions(),
    }


def machine_id(root: Path = ROOT) -> str:
    """Return what tells this machine from others until it starts again, also from a container."""
    return read_text(root / "proc/sys/kernel/random/boot_id") or platform.node()


def slug(machine: Mapping[str, Any]) -> str:
    """Return a name of a machine for use in file names.

    Example:
        >>> slug({"model": "Raspberry Pi 4 Model B Rev 1.4", "cores": 4})
        'raspberry-pi-4-model-b-rev-1-4-4c'
    """
    words = re.findall(r"[a-z0-9]+", machine["model"].lower())
    return "-".join([*words, f"{machine['cores']}c"])


def model_name(root: Path = ROOT) -> str:
    """Return the board's own name, or else the processor's.

    A container may lack the device tree; /proc/cpuinfo of a Raspberry Pi has the same name in its
    last lines, and before it a chip (`Hardware: BCM2835`) that is not the one of newer boards.
    """
    if board := read_text(root / "proc/device-tree/model"):  # a Raspberry Pi and most boards
        return board
    cpuinfo = read_text(root / "proc/cpuinfo") or ""
    for name in ("Model", "model name", "Hardware"):
        if match := re.search(rf"^{name}[ \t]*:[ \t]*(\S.*)$", cpuinfo, re.MULTILINE):
            return match[1].rstrip()
    return platform.processor() or platform.machine() or "unknown"


def count_usable_cores() -> int:
    """Count the cores that this process may use, no more than the CPU quota of its container.

    Example:
        >>> count_usable_cores() >= 1
        True
    """
    quota = cpu_quota()
    return _count_cores() if quota is None else min(_count_cores(), math.ceil(quota["cores"]))


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ram_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not Unix, or not reported
        return None


def _versions() -> dict[str, str]:
    from importlib import metadata  # 10 ms, of modules for e-mail

    versions = {}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def core_kinds(root: Path = ROOT) -> list[dict[str, Any]]:
    """Count the cores of each kind, the fastest kind first.

    Returns:
        Of each kind its `name`, `count` and `max_mhz`, the maximum clock, None if unknown.
    """
    blocks = _cpuinfo_blocks(root)
    kinds = Counter(
        (_core_name(block), _max_mhz(root, block)) for block in blocks if "processor" in block
    )
    ordered = sorted(kinds.items(), key=lambda item: (-(item[0][1] or 0), item[0][0]))
    return [{"name": name, "count": count, "max_mhz": mhz} for (name, mhz), count in ordered]


def instructions(root: Path = ROOT) -> list[str]:
    """List the instruction sets for quantized models that every core supports."""
    flags = [
        set((block.get("flags") or block.get("Features") or "").split())
        for block in _cpuinfo_blocks(root)
        if "processor" in block
    ]
    common = set.intersection(*flags) if flags else set()
    return [name for name in _INSTRUCTIONS if name in common]


def processor_name(root: Path = ROOT) -> str | None:
    """Return the chip's name, from the device tree (`brcm,bcm2712`) or /proc/cpuinfo."""
    tree = read_text(root / "proc/device-tree/compatible")
    if tree:  # the board first, its chip last
        return tree.split("\0")[-1]
    for block in _cpuinfo_blocks(root):
        if name := block.get("Hardware") or block.get("model name"):
            return name
    return None


def _cpuinfo_blocks(root: Path) -> list[dict[str, str]]:
    text = read_text(root / "proc/cpuinfo") or ""
    return [
        dict(re.findall(r"^(.+?)[ \t]*:[ \t]*(.*)$", block, re.MULTILINE))
        for block in text.split("\n\n")
    ]


def _core_name(block: dict[str, str]) -> str:
    part = block.get("CPU part")
    if part is None:
        return block.get("model name", "unknown")
    if block.get("CPU implementer") == "0x41" and int(part, 16) in _ARM_PARTS:
        return _ARM_PARTS[int(part, 16)]
    return f"implementer {block.get('CPU implementer')} part {part}"


def _max_mhz(root: Path, block: dict[str, str]) -> int | None:
    folder = root / f"sys/devices/system/cpu/cpu{block['processor']}/cpufreq"
    text = read_text(folder / "cpuinfo_max_freq") or ""
    return int(text) // 1000 if text.isdecimal() else None


def read_conditions(root: Path = ROOT) -> dict[str, Any]:
    """Read the state of the machine, which may change during a measurement, ready for JSON.

    Args:
        root: The directory that contains `/proc` and `/sys`.

    Returns:
        `governors`, the distinct ones; `frequency_mhz`, of each group of cores with one clock;
        `clock_limits_mhz`, the current limit and the hardware maximum of each group;
        `temperature_c`, the hottest sensor of the processor; `arm_clock_mhz`, the clock that the
        firmware of a Raspberry Pi measures, which may be below the one that Linux asked for;
        `throttled_bits`, the value of `vcgencmd get_throttled`; `throttle_events`, how often x86
        cores were throttled since boot; `load_average` over 1, 5 and 15 minutes; `cpu_quota`.
        Values that the machine does not report are None, or empty.
    """
    policies = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))
    governors = {read_text(policy / "scaling_governor") for policy in policies}
    return {
        "governors": sorted(name for name in governors if name),
        "frequency_mhz": _frequencies(root, policies),
        "clock_limits_mhz": [limits for policy in policies if (limits := _clock_limits(policy))],
        "temperature_c": _temperature(root),
        "arm_clock_mhz": _arm_clock_mhz(),
        "throttled_bits": _throttled_bits(),
        "throttle_events": _throttle_events(root),
        "load_average": _load_average(root),
        "cpu_quota": cpu_quota(root),
    }


def cpu_quota(root: Path = ROOT) -> dict[str, Any] | None:
    """Read the CPU quota of the control groups of this process, such as a container's.

    Returns:
        `cores`, the CPU time allowed in a period, in units of one core's; `periods` with the
        quota in force, and `throttled_periods`, those in which the processes had to wait for the
        next one, both since the groups were made.  None without a quota.
    """
    quotas = [quota for folder in _cpu_groups(root) if (quota := _group_quota(folder))]
    if not quotas:
        return None
    cores, periods, throttled = zip(*quotas, strict=True)
    return {"cores": min(cores), "periods": sum(periods), "throttled_periods": sum(throttled)}


def _cpu_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups and of those that contain them.

    See cgroups(7): `/proc/self/cgroup` contains the path of the group in each hierarchy, that of
    version 2 without a controller, and `mountinfo` where each hierarchy, or a part, is mounted.
    """
    groups: dict[str, str] = {}
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        place, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if controller is None or controller not in {"", *options.split(",")}:
            continue
        if (group := groups.pop(controller, None)) is None:  # or mounted twice
            continue
        part, mount = (_unescape(one) for one in place.split()[3:5])
        top = root / mount.lstrip("/")
        inside = PurePosixPath(group).is_relative_to(part) and ".." not in group
        folder = top / PurePosixPath(group).relative_to(part) if inside else top
        yield from (one for one in (folder, *folder.parents) if one.is_relative_to(top))


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _group_quota(folder: Path) -> tuple[float, int, int] | None:
    """Return the cores, periods and throttled periods of a control group; None without a quota."""
    names = "cpu.cfs_quota_us", "cpu.cfs_period_us"  # of version 1; cpu.max contains both
    text = read_text(folder / "cpu.max") or " ".join(read_text(folder / n) or "" for n in names)
    match = re.fullmatch(r"([1-9]\d*) ([1-9]\d*)", text)
    if match is None:
        return None
    counts = dict(re.findall(r"^(\w+) (\d+)$", read_text(folder / "cpu.stat") or "", re.M))
    periods, throttled = (int(counts.get(name, 0)) for name in ("nr_periods", "nr_throttled"))
    return int(match[1]) / int(match[2]), periods, throttled


def cpu_busy_s(root: Path = ROOT) -> float | None:
    """Read the CPU time of all cores and processes since boot; None if unknown.

    It includes the time that a hypervisor took (steal), which slows a measurement as another
    process would.
    """
    fields = (read_text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def read_text(path: Path) -> str | None:
    """Read a file of /proc or /sys without its final newline; None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n\0")
    except OSError:
        return None


def vcgencmd(*command: str) -> str | None:
    """Run a command of a Raspberry Pi's firmware; None if it is missing, fails, or hangs."""
    import shutil
    import subprocess

    if (program := shutil.which("vcgencmd")) is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 (the firmware's own tool)
            [program, *command], capture_output=True, text=True, timeout=_FIRMWARE_S
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _frequencies(root: Path, policies: list[Path]) -> list[int]:
    clocks = [read_text(policy / "scaling_cur_freq") for policy in policies]
    if known := [int(clock) // 1000 for clock in clocks if clock and clock.isdecimal()]:
        return known
    text = read_text(root / "proc/cpuinfo") or ""
    return [round(float(mhz)) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", text, re.M)]


def _clock_limits(policy: Path) -> list[int] | None:
    clocks = [read_text(policy / name) or "" for name in ("scaling_max_freq", "cpuinfo_max_freq")]
    known = all(clock.isdecimal() for clock in clocks)
    return [int(clock) // 1000 for clock in clocks] if known else None


def _temperature(root: Path) -> float | None:
    zones = [
        (read_text(zone / "type") or "", read_text(zone / "temp") or "")
        for zone in (root / "sys/class/thermal").glob("thermal_zone*")
    ]
    processor_zones = [zone for zone in zones if _PROCESSOR_ZONE.search(zone[0])] or zones
    degrees = [int(milli) / 1000 for _, milli in processor_zones if re.fullmatch(r"-?\d+", milli)]
    # A sensor that is switched off reports 0 or an absurd value.
    hottest = max((one for one in degrees if 0 < one < 150), default=None)
    return _firmware_temperature() if hottest is None else hottest


def _firmware_temperature() -> float | None:
    match = re.fullmatch(r"temp=(\d+(?:\.\d+)?)'C", vcgencmd("measure_temp") or "")
    return float(match[1]) if match else None


def _arm_clock_mhz() -> int | None:
    # The number in brackets is the firmware's of the clock, and differs between boards.
    match = re.fullmatch(r"frequency\(\d+\)=(\d+)", vcgencmd("measure_clock", "arm") or "")
    return int(match[1]) // 1_000_000 if match else None


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
