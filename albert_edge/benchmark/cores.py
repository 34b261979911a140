"""The processor: its cores and their kinds, and what instructions it has for 8-bit numbers."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from albert_edge.benchmark.conditions import ROOT, read_text

__all__ = ["core_kinds", "instructions", "processor_name"]

# Arm's part numbers (MIDR_EL1, implementer 0x41) of cores that boards and phones have.
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
# What decides how fast quantized products are, as /proc/cpuinfo calls it.
_INSTRUCTIONS = (
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "sve",
    "sme",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
    "amx_tile",
)


def core_kinds(root: Path = ROOT) -> list[dict[str, Any]]:
    """Count the cores of each kind, the fastest kind first.

    Returns:
        Of each kind its `name`, `count` and `max_mhz`, the highest clock, None where untold.
    """
    blocks = _blocks(root)
    kinds = Counter(
        (_name(block), _max_mhz(root, block)) for block in blocks if "processor" in block
    )
    ordered = sorted(kinds.items(), key=lambda item: (-(item[0][1] or 0), item[0][0]))
    return [{"name": name, "count": count, "max_mhz": mhz} for (name, mhz), count in ordered]


def instructions(root: Path = ROOT) -> list[str]:
    """List which of the instructions that matter for a quantized model every core has."""
    flags = [
        set((block.get("flags") or block.get("Features") or "").split())
        for block in _blocks(root)
        if "processor" in block
    ]
    common = set.intersection(*flags) if flags else set()
    return [name for name in _INSTRUCTIONS if name in common]


def processor_name(root: Path = ROOT) -> str | None:
    """Name the chip: what the device tree calls it, such as `brcm,bcm2712`, or `model name`."""
    tree = read_text(root / "proc/device-tree/compatible")
    if tree:  # the board first, its chip last
        return tree.split("\0")[-1]
    for block in _blocks(root):
        if name := block.get("Hardware") or block.get("model name"):
            return name
    return None


def _blocks(root: Path) -> list[dict[str, str]]:
    text = read_text(root / "proc/cpuinfo") or ""
    return [
        dict(re.findall(r"^(.+?)[ \t]*:[ \t]*(.*)$", block, re.MULTILINE))
        for block in text.split("\n\n")
    ]


def _name(block: dict[str, str]) -> str:
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
