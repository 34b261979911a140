"""This machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert_edge.benchmark.devices.device import describe_ending, read_answer
from albert_edge.errors import ConfigError, DeviceError

__all__ = ["Local", "connect"]


class Local:
    """This machine, as a `Device`."""

    name = "local"

    def __init__(self, python: str = sys.executable) -> None:
        """Run the worker in `python`, which finds this package and what the engine needs."""
        self._command = (python, "-m", "albert_edge.benchmark.worker")

    def send(self, path: Path) -> str:
        """Return the path itself."""
        return str(path)

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run one job in a fresh process."""
        where = f"{job.get('path', 'the job')} in a process of its own"
        try:
            done = subprocess.run(  # noqa: S603 (our own interpreter and module, and no shell)
                self._command,
                input=json.dumps(job),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(
                f"{where} took over {timeout_s:g} s; give it more time, or measure fewer runs."
            ) from error
        ending = describe_ending(done.returncode)
        return read_answer(done.stdout, stderr=done.stderr, ending=ending, where=where)

    def close(self) -> None:
        """Do nothing."""


def connect(address: str = "local") -> Local:
    """Open this machine.

    Raises:
        ConfigError: The address says more than `local`.
    """
    if address != "local":
        raise ConfigError(f"the device {address!r} is this machine: call it 'local'.")
    return Local()
