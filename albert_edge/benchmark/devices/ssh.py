"""A device that is reached over SSH: a board with Python, without this package.

`pack_worker` packs the modules of this package that the worker imports; they and the models are
copied once, to a private temporary folder that an agent on the device removes in the end.
"""

from __future__ import annotations

import ast
import hashlib
import io
import reprlib
import threading
import zipfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import albert_edge
from albert_edge.benchmark.devices.device import ENGINES, CopiedFiles, parse_worker_output
from albert_edge.benchmark.devices.ssh_address import parse_address
from albert_edge.errors import DeviceError, describe_exit, requires_extra
from albert_edge.files import read_input

if TYPE_CHECKING:
    from albert_edge.benchmark.devices.ssh_connection import SshConnection


T = TypeVar("T")
# The worker, and the engines that it imports by name.
_WORKER_MODULES = (
    "albert_edge.benchmark.worker",
    "albert_edge.benchmark.engine",
    "albert_edge.benchmark.gpu_engine",
)
# Of Python 3.11, `ast.parse` fails in a thread while another one is in it.
_PARSING = threading.Lock()
_GRACE_S = 30  # for the reply about a worker that the agent had to kill


class Ssh:
    """A machine that is reached over SSH, as a `Device`.

    The worker's modules and the models are copied, each once, to a private temporary folder there.
    The agent removes it when the host disconnects, and also when the connection breaks.
    """

    engines: Mapping[str, str] = ENGINES
    counts_instructions = False

    def __init__(self, name: str, connection: SshConnection) -> None:
        """Copy the worker to the device.

        Raises:
            DeviceError: It cannot be copied.
        """
        self.name = name
        self._connection = connection
        self._files = CopiedFiles(self._copy, folders=True)
        self._put("package.zip", pack_worker())
        self._request({"do": "unpack", "name": "package.zip"}, action="unpack package.zip")

    def send(self, path: Path) -> str:
        """Copy a file to the device, unless that was tried before."""
        return self._files.send(path)

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run one job in a fresh process on the device."""
        where = f"{job.get('path', 'the job')} on {self.name}"
        reply = self._request(
            {"do": "run", "job": dict(job), "timeout_s": timeout_s},
            action="start a process",
            timeout_s=timeout_s + _GRACE_S,
        )
        if reply.get("timeout") is True:
            raise DeviceError(
                f"{where} took over {timeout_s:g} s; increase the timeout, or measure fewer runs."
            )
        stdout, stderr = (self._field(reply, name, str) for name in ("stdout", "stderr"))
        ending = describe_exit(self._field(reply, "returncode", int))
        return parse_worker_output(stdout, stderr=stderr, ending=ending, where=where)

    def machine_id(self) -> str:
        """Ask the device, which may be another way to a machine that is measured too."""
        return str(self.run({"do": "identify"}, timeout_s=_GRACE_S)["machine_id"])

    def close(self) -> None:
        """Remove the copied files and disconnect; never raises."""
        self._connection.close()

    def _copy(self, path: Path, name: str) -> str:
        return self._put(name, read_input(path))

    def _put(self, name: str, blob: bytes) -> str:
        action = f"copy {name} ({len(blob) / 1e6:.1f} MB) there"
        request = {"do": "put", "name": name, "size": len(blob)}
        reply = self._request(request, blob=blob, action=action)
        if self._field(reply, "sha256", str) != hashlib.sha256(blob).hexdigest():
            raise DeviceError(f"{name} arrived damaged on {self.name}; try again.")
        return self._field(reply, "path", str)

    def _field(self, reply: Mapping[str, Any], name: str, kind: type[T]) -> T:
        if not isinstance(value := reply.get(name), kind):
            raise DeviceError(
                f"{self.name} returned {reprlib.repr(dict(reply))} instead of a reply with {name}: "
                "what runs there is not the agent that albert_edge sent."
            )
        return value

    def _request(self, request: dict[str, Any], *, action: str, **options: Any) -> dict[str, Any]:
        reply = self._connection.request(request, **options)
        if "error" in reply:
            raise DeviceError(
                f"cannot {action}: {reply['error']}. {self.name} has "
                f"{self._field(reply, 'free_bytes', int) / 1e6:.1f} MB free in "
                f"{self._connection.folder}; free some space there, or set TMPDIR for its logins."
            )
        return reply


def connect(address: str) -> Ssh:
    """Open the device at `ssh://[USER@]HOST[:PORT][?python=PATH]`.

    Keys and settings come from ssh-agent and `~/.ssh`, as for `ssh` itself.  The host key must be
    in a `known_hosts` file; it is never accepted silently.

    Raises:
        ConfigError: The address is malformed.
        DeviceError: The device cannot be reached, refuses the login, lacks a Python that can run
            the worker, or has too little space.
        MissingExtraError: asyncssh is not installed.
    """
    parsed = parse_address(address)
    with requires_extra():
        from albert_edge.benchmark.devices.ssh_connection import SshConnection
    connection = SshConnection(parsed)
    try:
        return Ssh(address, connection)
    except BaseException:
        connection.close()
        raise


def pack_worker() -> bytes:
    """Return a zip file of the modules of this package that the worker may import.

    It contains the package's name and version as in a wheel, for the worker's report of versions.
    """
    metadata = f"Metadata-Version: 2.1\nName: albert_edge\nVersion: {albert_edge.__version__}\n"
    files = {f"albert_edge-{albert_edge.__version__}.dist-info/METADATA": metadata.encode()}
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w", zipfile.ZIP_DEFLATED) as archive:
        with _PARSING:
            files |= _worker_files()
        for name, content in files.items():
            # Not the files' dates, which may be before 1980, where a zip's begin.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return blob.getvalue()


def _worker_files() -> dict[str, bytes]:
    """Follow every import from the worker's modules, also those inside functions.

    Returns:
        The files by name, wherever this package is: also in a zip file.
    """
    package = resources.files("albert_edge")
    pending, files = [*_WORKER_MODULES], dict[str, bytes]()
    while pending:
        name = pending.pop()
        base = name.replace(".", "/")
        # Neither exists if `name` is a function or class: then its module is pending too.
        for file in (f"{base}/__init__.py", f"{base}.py"):
            found = package / file.removeprefix("albert_edge").removeprefix("/")
            if file not in files and found.is_file():
                files[file] = found.read_bytes()
                names = {*_imported_names(ast.parse(files[file])), name.rpartition(".")[0]}
                pending += [one for one in names if one.split(".")[0] == "albert_edge"]
    return dict(sorted(files.items()))


def _imported_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _imported_names(child)
