"""Memory of this process and energy of an inference, as the machine reports them.

Memory comes from Linux's /proc.  Energy comes from RAPL counters or a Raspberry Pi's power chip; it
is that of the whole processor package or board, not of the model alone.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from albert_edge.benchmark.system import ROOT, read_text, vcgencmd

_PROC = Path("/proc/self")
_PMIC_INTERVAL_S = 0.1  # one reading takes the firmware some 10 ms


def read_memory() -> dict[str, int] | None:
    """Read the resident memory of this process; None where it is not reported (not Linux).

    Returns:
        `rss_bytes`, all of it; `anonymous_bytes`, the part that only swap could free: heaps, packed
        weights, activations; `file_bytes`, the rest: pages of mapped files, which the kernel can
        drop and read again; `pss_bytes`, the proportional set size, which divides a shared page by
        its processes.
    """
    try:
        return parse_memory((_PROC / "smaps_rollup").read_text())
    except OSError:
        return None


def parse_memory(text: str) -> dict[str, int]:
    """Return the memory of a process by the text of its `smaps_rollup`; see `read_memory`."""
    rss, anonymous, pss = (_kilobytes(text, name) for name in ("Rss", "Anonymous", "Pss"))
    sizes = {"rss": rss, "anonymous": anonymous, "file": rss - anonymous, "pss": pss}
    return {f"{kind}_bytes": size for kind, size in sizes.items()}


def reset_peak() -> bool:
    """Reset the peak to the current memory; return whether the kernel allows it."""
    try:
        (_PROC / "clear_refs").write_text("5")  # proc(5): 5 resets the peak resident set size
    except OSError:
        return False
    return True


def read_peak_bytes() -> int:
    """Read the peak of resident memory since `reset_peak`, which must have returned true."""
    return parse_peak_bytes((_PROC / "status").read_text())


def parse_peak_bytes(text: str) -> int:
    """Return the peak of a process's resident memory by the text of its `status`."""
    return _kilobytes(text, "VmHWM")


def _kilobytes(text: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"expected a line {name!r} in kB in /proc/self, as Linux writes it.")
    return 1024 * int(match[1])


def measure_energy(
    infer: Callable[[], object], *, min_time_s: float, root: Path = ROOT
) -> dict[str, Any]:
    """Measure the energy of one inference, over at least `min_time_s` seconds of inferences.

    The timed inferences are not used: reading the energy takes time.

    Args:
        infer: Runs one inference.
        min_time_s: Minimum time to spend.
        root: The directory that contains `/proc` and `/sys`.

    Returns:
        `joules`, per inference; `source`, "rapl" or "pmic"; `n`, the number of inferences; or None
        for each of them, and a `reason`.
    """
    unknown = {"joules": None, "source": None, "n": None}
    zones = list((root / "sys/class/powercap").glob("intel-rapl:*"))
    if before := read_rapl(root):
        count, _ = _infer_for(infer, min_time_s)
        joules = rapl_joules(before, read_rapl(root))
        return {"joules": joules / count, "source": "rapl", "n": count, "reason": None}
    if parse_pmic_watts(vcgencmd("pmic_read_adc") or ""):
        with _PowerSampler() as watts:
            count, seconds = _infer_for(infer, max(min_time_s, 3 * _PMIC_INTERVAL_S))
        if watts:
            joules = seconds * sum(watts) / len(watts)
            return {"joules": joules / count, "source": "pmic", "n": count, "reason": None}
    if zones:
        return {**unknown, "reason": "the RAPL counters may be read by root only"}
    return {**unknown, "reason": "no RAPL counters and no vcgencmd pmic_read_adc"}


def read_rapl(root: Path = ROOT) -> dict[str, tuple[int, int]]:
    """Read the RAPL counter of every processor package: its value and where it wraps, in µJ."""
    counters = {}
    for zone in (root / "sys/class/powercap").glob("intel-rapl:*"):
        if (read_text(zone / "name") or "").startswith("package"):  # it includes its subzones
            energy, wrap = (read_text(zone / f) for f in ("energy_uj", "max_energy_range_uj"))
            if energy and wrap:
                counters[zone.name] = int(energy), int(wrap)
    return counters


def rapl_joules(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> float:
    """Return the energy between two readings of `read_rapl`.

    Example:
        >>> rapl_joules({"a": (9_000_000, 10_000_000)}, {"a": (1_000_000, 10_000_000)})
        2.0
    """
    return sum((after[name][0] - start) % wrap for name, (start, wrap) in before.items()) / 1e6


def parse_pmic_watts(text: str) -> float:
    """Return the power in the output of `vcgencmd pmic_read_adc`; 0 if it contains none.

    A Raspberry Pi 5 lists the current and the voltage of each rail behind its power chip.  It lists
    no current for the 5 V input, so the power of USB devices and of the chip itself is missing.

    Example:
        >>> parse_pmic_watts("VDD_CORE_A current(7)=2.0A\\n VDD_CORE_V volt(15)=0.75V")
        1.5
    """
    amperes, volts = (
        {name: float(value) for name, value in re.findall(pattern, text)}
        for pattern in (
            r"(\w+)_A current\(\d+\)=([\d.]+)A",
            r"(\w+)_V volt\(\d+\)=([\d.]+)V",
        )
    )
    return sum(current * volts[name] for name, current in amperes.items() if name in volts)


def _infer_for(infer: Callable[[], object], min_time_s: float) -> tuple[int, float]:
    count, start = 0, perf_counter()
    while (seconds := perf_counter() - start) < min_time_s or not count:
        infer()
        count += 1
    return count, seconds


class _PowerSampler:
    """Reads the power chip periodically in a thread; yields the growing list of watts."""

    def __enter__(self) -> list[float]:
        self._stop = threading.Event()
        self._watts: list[float] = []
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self._watts

    def _sample(self) -> None:
        while True:
            if watts := parse_pmic_watts(vcgencmd("pmic_read_adc") or ""):
                self._watts.append(watts)
            if self._stop.wait(_PMIC_INTERVAL_S):
                return

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
