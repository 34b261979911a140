"""The arm64 root of `albert-edge benchmark --device qemu://CPU`, in a cache folder of its own."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.progress import Progress

from albert_edge.benchmark.devices.arm64_root import get_root
from albert_edge.errors import DeviceError

from .install import Rig, RigError


def _build(folder: Path) -> None:
    with patch.dict(os.environ, XDG_CACHE_HOME=str(folder)):
        try:
            get_root(Progress(disable=True))
        except DeviceError as error:
            raise RigError(str(error)) from error


RIG = Rig(
    name="qemu",
    what="the arm64 root of qemu:// devices",
    build=_build,
    sources=tuple(
        str(Path(get_root.__code__.co_filename).with_name(name))
        for name in ("arm64_root.py", "instructions.c")
    ),
)


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `qemu://` devices find the root, or skip the test without it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(RIG.require()))
