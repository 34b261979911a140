"""LiteRT.js, which runs models in browsers: the cache of `albert-edge serve-demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from albert_edge.litert_js import VERSION

from .install import HERE, Rig, call

_FETCH = "from albert_edge.litert_js import litert_files; litert_files(print)"


class _Cache(Rig):
    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a test, and the processes that it starts, find the packages."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(self.require()))


def _build(folder: Path) -> None:
    setting = (f"XDG_CACHE_HOME={folder}", f"PYTHONPATH={HERE.parents[1]}")
    call("env", *setting, sys.executable, "-c", _FETCH)


LITERT_JS = _Cache(
    name="litert_js",
    what="LiteRT.js of npm",
    build=_build,
    version=int(VERSION.replace(".", "")),
)
