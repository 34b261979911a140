"""The wheels that a device needs to run models: those of the base install, and nothing else."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from .install import Rig, call


def _build(folder: Path) -> None:
    needed = [one for one in metadata.requires("albert_edge") or () if "extra ==" not in one]
    call(sys.executable, "-m", "pip", "download", "-q", "-d", folder, *needed)


RIG = Rig(name="base-install", what="the wheels of the base install", build=_build)
