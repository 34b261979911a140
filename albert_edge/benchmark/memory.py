"""How much memory this process holds, as the Linux kernel counts it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "read_memory", "read_peak_bytes", "reset_peak"]

_PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The resident memory of this process at one moment.

    Attributes:
        rss_bytes: Everything resident.
        anonymous_bytes: The part that only swap could free: heaps, packed weights, activations.
        file_bytes: The rest: pages of mapped files, which the kernel can drop and read again.
        pss_bytes: The proportional set size: of a page that several processes share, its share.
    """

    rss_bytes: int
    anonymous_bytes: int
    file_bytes: int
    pss_bytes: int


def read_memory() -> Memory | None:
    """Read the memory of this process, or None where the kernel does not tell (not Linux)."""
    try:
        text = (_PROC / "smaps_rollup").read_text()
    except OSError:
        return None
    rss, anonymous, pss = (_kilobytes(text, name) for name in ("Rss", "Anonymous", "Pss"))
    return Memory(
        rss_bytes=rss, anonymous_bytes=anonymous, file_bytes=rss - anonymous, pss_bytes=pss
    )


def reset_peak() -> bool:
    """Make the peak start again from now; tell whether the kernel allows it."""
    try:
        (_PROC / "clear_refs").write_text("5")  # proc(5): 5 resets the peak resident set size
    except OSError:
        return False
    return True


def read_peak_bytes() -> int:
    """Read the most memory that was ever resident since `reset_peak` (which must have worked)."""
    return _kilobytes((_PROC / "status").read_text(), "VmHWM")


def _kilobytes(text: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"/proc has no line {name!r}; this kernel writes another format.")
    return 1024 * int(match[1])
