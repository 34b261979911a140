"""Chromium without a window, and what drives it: this machine's or Debian's, and Playwright of npm.

WebGPU computes on SwiftShader, which comes with it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .install import Rig, call, debian

_PLAYWRIGHT = "playwright-core@1.65.1"
# The libraries of the packages come before this machine's; PulseAudio's has one in a folder.
_STARTER = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
libraries="$here/usr/lib/x86_64-linux-gnu"
export LD_LIBRARY_PATH="$libraries:$libraries/pulseaudio"
exec "$here/usr/lib/chromium/chromium" "$@"
"""


def _build(folder: Path) -> None:
    program = folder / "chromium"
    if installed := shutil.which("chromium"):
        program.symlink_to(installed)
    else:
        debian(folder, "chromium", "chromium-common", dependencies=True)
        program.write_text(_STARTER)
        program.chmod(0o755)
    call("npm", "install", "--silent", "--ignore-scripts", "--prefix", folder, _PLAYWRIGHT)


CHROMIUM = Rig(name="chromium", what="Chromium, driven by Playwright", build=_build, version=2)


def chromium_command(node: Path, script: Path) -> list[str]:
    """Return the command of a script in JavaScript that drives Chromium.

    It gets the paths of Chromium and of the module `playwright-core` as arguments.  The test is
    skipped where the rig is missing.
    """
    folder = CHROMIUM.require()
    module = folder / "node_modules" / "playwright-core" / "index.mjs"
    return [os.fspath(part) for part in (node, script, folder / "chromium", module)]
