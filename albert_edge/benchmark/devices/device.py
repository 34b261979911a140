"""The interface of a device, its address, and the local machine.

A device copies model files, and runs a worker process that reads a job and writes a result.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import albert_edge
from albert_edge import errors
from albert_edge.benchmark.devices.remote_agent import worker_command
from albert_edge.benchmark.system import machine_id
from albert_edge.benchmark.worker import check_same_file, file_digest, file_state
from albert_edge.bundle.archive import HOST
from albert_edge.errors import AlbertEdgeError, ConfigError, DeviceError, describe_exit

if TYPE_CHECKING:  # the worker imports this module, on devices without rich
    from rich.progress import Progress

__all__ = ["ENGINE", "Device", "Local", "engine_folder", "open_device"]

# The scheme of an address (the part before "://") and the module of `albert_edge.benchmark.devices`
# whose `connect(address)` opens it; a module is imported only for an address of its scheme.
DEVICES = {"local": "device", "ssh": "ssh", "adb": "adb", "qemu": "qemu"}
ENGINE = "albert_edge.benchmark.engine:open_model"
# The engine of each accelerator on a device that runs Python, `module:function`.
ENGINES = {
    "cpu": ENGINE,
    "gpu:float32": "albert_edge.benchmark.gpu_engine:open_float32",
    "gpu:default": "albert_edge.benchmark.gpu_engine:open_default",
    "edgetpu": "albert_edge.benchmark.engine:open_on_edgetpu",
}
# How much of a failed worker's output a message contains.
_MAX_LINES = 5
_MAX_CHARACTERS = 300
_NAME_CHARACTERS = 100
_UNSAFE = re.compile(r"[^\w.-]", re.ASCII)  # characters that not every file system accepts


class Device(Protocol):
    """A machine that runs the worker, in a fresh process for each job.

    The host plans the runs, orders them and stores the results; a device only transfers one job and
    its result, both JSON objects, which `albert_edge.benchmark.worker` describes.

    Attributes:
        name: The address of the device, such as `local`.
        engines: What opens a model there, for each accelerator.
        counts_instructions: Whether it counts instructions (`measure.count`) instead of measuring
            time (`measure.measure`).
    """

    name: str
    engines: Mapping[str, str]
    counts_instructions: bool

    def send(self, path: Path) -> str:
        """Copy a file of the host to the device unless it is there; return its path there.

        Raises:
            DeviceError: It cannot be copied.
        """

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run one job in a fresh process on the device and return its result.

        Raises:
            AlbertEdgeError: The worker's own error (see `parse_worker_output`).
            DeviceError: The process died or timed out, or the connection is lost.
        """

    def machine_id(self) -> str:
        """Return what is the same for every device whose processes run on the same machine.

        Raises:
            DeviceError: The connection is lost.
        """

    def close(self) -> None:
        """Remove the copied files and disconnect; never raises."""


def open_device(
    address: str,
    *,
    runtime: Sequence[str | os.PathLike[str]] = (),
    progress: Progress | None = None,
) -> Device:
    """Open the device at an address: `local`, or `SCHEME://...`.

    Args:
        address: The address.
        progress: Where to show the progress of what takes long; None for nowhere.
        runtime: For a phone, the archives of the TFLite libraries to copy there; empty for those of
            the known version.

    Raises:
        ConfigError: The scheme is unknown, the address is malformed, or there is a `runtime` for
            another device than a phone.
        DeviceError: The device cannot be reached.
    """
    scheme = address.partition("://")[0]
    if scheme not in DEVICES:
        raise ConfigError(f"unknown device {address!r}; choose from {', '.join(DEVICES)}.")
    module = importlib.import_module(f"albert_edge.benchmark.devices.{DEVICES[scheme]}")
    if runtime and scheme != "adb":
        raise ConfigError(
            f"--runtime names the TFLite libraries of a phone, and {address!r} is none; leave it "
            "out, or measure on a phone: --device adb://."
        )
    options: dict[str, Any] = {"runtime": runtime} if runtime else {}
    if scheme == "qemu":
        options["progress"] = progress
    device: Device = module.connect(address, **options)
    return device


class CopiedFiles:
    """The files that were copied to a device, each tried once."""

    def __init__(self, copy: Callable[[Path, str], str], *, folders: bool = False) -> None:
        """Use a function that copies a file under a name, and returns its path on the device.

        Args:
            copy: The function.
            folders: Whether a name may have a folder in it, so that of a host graph of the target
                `edgetpu` its products are copied too.
        """
        self._copy, self._folders = copy, folders
        self._sent: dict[Path, str | DeviceError] = {}  # its path there, or why it was not copied

    def send(self, path: Path) -> str:
        """Copy a file, unless that was tried before; see `Device.send`."""
        if path not in self._sent:
            name = f"{len(self._sent)}-{_UNSAFE.sub('_', path.name)[-_NAME_CHARACTERS:]}"
            try:
                if self._folders and path.name == HOST:
                    self._sent[path] = self._send_folder(path, f"{name}.folder")
                else:
                    self._sent[path] = self._copy(path, name)
            except OSError as error:
                raise DeviceError(f"cannot read {path}: {error.strerror}.") from error
            except DeviceError as error:
                self._sent[path] = error
        if isinstance(sent := self._sent[path], DeviceError):
            raise sent
        return sent

    def _send_folder(self, host: Path, name: str) -> str:
        for path in sorted(host.parent.glob("*.tflite")):
            if path.name != HOST:
                self._copy(path, f"{name}/{path.name}")
        return self._copy(host, f"{name}/{HOST}")


def run_worker(
    command: Sequence[str | Path],
    job: Mapping[str, Any],
    *,
    where: str,
    timeout_s: float,
    advice: str,
    **process: Any,
) -> dict[str, Any]:
    """Run one job in a process of this machine and return its result.

    Args:
        command: What starts the worker.
        job: The job.
        where: What to call the worker in a message.
        timeout_s: When to stop it.
        advice: What to do if it takes longer.
        process: Further arguments of `subprocess.run`.

    Raises:
        AlbertEdgeError: As in `parse_worker_output`.
        DeviceError: It took too long.
    """
    try:
        done = subprocess.run(  # noqa: S603 (our own worker, and no shell)
            command,
            input=json.dumps(job),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            **process,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{where} took over {timeout_s:g} s; {advice}.") from error
    ending = describe_exit(done.returncode)
    return parse_worker_output(done.stdout, stderr=done.stderr, ending=ending, where=where)


def parse_worker_output(stdout: str, *, stderr: str, ending: str, where: str) -> dict[str, Any]:
    """Parse a worker's result, or raise its error.

    Args:
        stdout: All of the worker's standard output: one JSON object.
        stderr: All of its standard error.  Without a result, the error message contains its last
            lines, or else those of standard output.
        ending: How the process ended, such as `exit code 1`.
        where: The job and device, for messages.

    Raises:
        AlbertEdgeError: The worker's own error, of its own class.
        DeviceError: The worker wrote no result.
    """
    try:
        result = json.loads(stdout)
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict):
        lines = (stderr.strip() or stdout.strip()).splitlines()[-_MAX_LINES:]
        last = "\n  ".join(line[:_MAX_CHARACTERS] for line in lines)
        output = f"its last output was:\n  {last}" if last else "it wrote nothing."
        raise DeviceError(f"{where}: {ending}; {output}")
    if (name := result.get("error")) is not None:
        # A newer version may have errors that this one lacks.
        kind = getattr(errors, str(name), DeviceError)
        kind = kind if isinstance(kind, type) and issubclass(kind, AlbertEdgeError) else DeviceError
        # Not every error's __init__ takes its message.
        raise kind.__new__(kind, str(result.get("message")))
    return result


class Local:
    """This machine, as a `Device`."""

    name = "local"
    engines: Mapping[str, str] = ENGINES
    counts_instructions = False

    def __init__(self, python: str = sys.executable) -> None:
        """Use a Python that can import this package and the engine's packages."""
        self._python = python

    def send(self, path: Path) -> str:
        """Return the path itself."""
        return str(path)

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run one job in a fresh process."""
        try:
            return self._run(job, timeout_s)
        except AlbertEdgeError:
            # What was read may be another file than the planned one, which the worker cannot tell.
            if (planned := job.get("sha256")) is not None:
                found = file_state(job["path"]) and file_digest(job["path"])
                check_same_file(planned, found)
            raise

    def _run(self, job: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        where = f"{job.get('path', 'the job')} in a process of its own"
        folder = str(Path(albert_edge.__file__).parent.parent)
        command = worker_command(self._python, folder, *engine_folder(job))
        advice = "increase the timeout, or measure fewer runs"
        return run_worker(command, job, where=where, timeout_s=timeout_s, advice=advice)

    def machine_id(self) -> str:
        """Return this machine's."""
        return machine_id()

    def close(self) -> None:
        """Do nothing."""


def engine_folder(job: Mapping[str, Any]) -> list[str]:
    """Return the folder from which this process would import the engine of a job, if there is one.

    The worker finds this package's own engine, and searches its own path for one not found here.
    """
    package = str(job.get("engine", "albert_edge")).partition(":")[0].partition(".")[0]
    spec = None if package == "albert_edge" else importlib.util.find_spec(package)
    places = [] if spec is None else spec.submodule_search_locations or [spec.origin or ""]
    return [str(Path(place).parent) for place in places]


def connect(address: str = "local") -> Local:
    """Open the local machine.

    Raises:
        ConfigError: The address is not `local`.
    """
    if address != "local":
        raise ConfigError(f"{address!r} is not a device; the address of this machine is 'local'.")
    return Local()
