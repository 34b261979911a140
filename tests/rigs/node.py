"""Node.js, in which the tests run the package for web pages: this machine's, or Debian's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from .install import Rig, call, debian

LEAST = 18  # of Debian 12


def _build(folder: Path) -> None:
    program = shutil.which("node")
    version = re.match(r"v(\d+)\.", call(program, "--version")) if program else None
    if program and version and int(version[1]) >= LEAST:
        (folder / "node").symlink_to(Path(program).resolve())
        return
    debian(folder, "nodejs", dependencies=True)
    (folder / "node").symlink_to("usr/bin/node")


NODE = Rig(name="node", what=f"Node.js {LEAST} or newer", build=_build)


def node_environment() -> dict[str, str]:
    """Return the environment in which the rig's program finds its libraries."""
    libraries = NODE.path / "usr/lib/x86_64-linux-gnu"
    return {**os.environ, **({"LD_LIBRARY_PATH": str(libraries)} if libraries.exists() else {})}


def run_node(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder; skip the test where the rig is missing."""
    return subprocess.run(
        [NODE.require() / "node", *arguments],
        cwd=folder,
        env=node_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
