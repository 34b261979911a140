"""What the harness asks of a device, and how a device is named."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from albert_edge import errors
from albert_edge.errors import ConfigError, DeviceError

__all__ = ["DEVICES", "Device", "Local", "connect", "describe_ending", "open_device", "read_answer"]

# What stands before "://" in an address → the module of `albert_edge.benchmark.devices` whose
# `connect(address)` opens it.  A module is imported when a device of its kind is named.
DEVICES = {"local": "device", "ssh": "ssh"}
_STDERR_LINES = 5
_LINE_CHARACTERS = 300


class Device(Protocol):
    """A machine that runs the worker, one fresh process a job.

    The harness makes the plan, takes turns and keeps what was measured; a device only carries one
    job there and one answer back.  A job and an answer are JSON objects, which
    `albert_edge.benchmark.worker` describes.

    Attributes:
        name: The address that it was opened with, such as `local`.
    """

    name: str

    def send(self, path: Path) -> str:
        """Make a file of this machine readable there; return its path there.

        Sending the same file again costs nothing.

        Raises:
            DeviceError: It cannot be copied.
        """

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run one job in a fresh process there and return its answer.

        Raises:
            AlbertEdgeError: What the worker raised (see `read_answer`).
            DeviceError: The process died or did not end in time, or the device is gone.
        """

    def close(self) -> None:
        """Remove what was sent and hang up; never raises."""


def open_device(address: str) -> Device:
    """Open the device at an address: `local`, or `KIND://...`.

    Raises:
        ConfigError: There is no device of that kind.
        DeviceError: It does not answer.
    """
    kind = address.partition("://")[0]
    if kind not in DEVICES:
        raise ConfigError(f"unknown device {address!r}; choose from {', '.join(DEVICES)}.")
    module = importlib.import_module(f"albert_edge.benchmark.devices.{DEVICES[kind]}")
    device: Device = module.connect(address)
    return device


def read_answer(stdout: str, *, stderr: str, ending: str, where: str) -> dict[str, Any]:
    """Read what a worker wrote, or raise what went wrong in it.

    Args:
        stdout: All of the worker's standard output: one JSON object.
        stderr: All of its standard error; its last lines are shown if there is no answer, or what
            it wrote instead of one.
        ending: How the process ended, such as `exit code 1`.
        where: What it was doing, for messages.

    Raises:
        AlbertEdgeError: The worker's own error, of its own class.
        DeviceError: The worker gave no answer.
    """
    try:
        answer = json.loads(stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        lines = (stderr.strip() or stdout.strip()).splitlines()[-_STDERR_LINES:]
        last = "\n  ".join(line[:_LINE_CHARACTERS] for line in lines)
        wrote = f"it wrote last:\n  {last}" if last else "it wrote nothing."
        raise DeviceError(f"{where}: {ending}; {wrote}")
    if (name := answer.get("error")) is not None:
        # A newer version may have errors that this one does not know.
        kind = getattr(errors, name) if name in errors.__all__ else DeviceError
        raise kind.__new__(kind, answer["message"])  # not every error's __init__ takes its message
    return answer


def describe_ending(code: int) -> str:
    """Say how a process ended whose return code is that of `subprocess`.

    Example:
        >>> describe_ending(-9)
        'killed by SIGKILL'
    """
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


# This machine.


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
