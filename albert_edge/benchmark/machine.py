"""What a measurement was taken on."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from albert_edge.benchmark.conditions import read_conditions
from albert_edge.benchmark.cores import core_kinds, instructions, processor_name

__all__ = ["describe_machine", "slug"]

# Whatever may have taken part, if it is installed.
_PACKAGES = ("albert_edge", "ai-edge-litert", "tflite-runtime", "numpy", "tensorflow", "tf_keras")


def describe_machine() -> dict[str, Any]:
    """Describe this machine, ready for JSON.

    Returns:
        `model` (the board's or the processor's name), `processor` (the chip), `cores` that this
        process may use, `core_kinds` and `instructions` of all, `ram_bytes`, `architecture`,
        `system`, `kernel`, `python`, `versions` of the packages by name, and `conditions` now.

    Example:
        >>> describe_machine()["cores"] >= 1
        True
    """
    return {
        "model": _model(),
        "processor": processor_name(),
        "cores": _cores(),
        "core_kinds": core_kinds(),
        "instructions": instructions(),
        "ram_bytes": _ram_bytes(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": dict(_versions()),
        "conditions": read_conditions(),
    }


def slug(machine: dict[str, Any]) -> str:
    """Make a part of a file name that tells machines apart.

    Example:
        >>> slug({"model": "Raspberry Pi 4 Model B Rev 1.4", "cores": 4})
        'raspberry-pi-4-model-b-rev-1-4-4c'
    """
    words = re.findall(r"[a-z0-9]+", machine["model"].lower())
    return "-".join([*words, f"{machine['cores']}c"])


def _model() -> str:
    board = Path("/proc/device-tree/model")  # a Raspberry Pi and most boards
    if board.exists():
        return board.read_text(encoding="utf-8").strip("\0\n")
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text(encoding="utf-8")
        if match := re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", text, re.MULTILINE):
            return match[1]
    return platform.processor() or platform.machine() or "unknown"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ram_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not a Unix, or one that does not tell
        return None


def _versions() -> list[tuple[str, str]]:
    installed = {name: _version(name) for name in _PACKAGES}
    return [(name, version) for name, version in installed.items() if version is not None]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
