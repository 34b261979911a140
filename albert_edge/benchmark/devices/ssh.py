"""A device that is reached over SSH: a board with Python on it, and nothing of ours."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import albert_edge
from albert_edge.benchmark.devices.device import describe_ending, read_answer
from albert_edge.benchmark.devices.ssh_address import parse_address
from albert_edge.errors import DeviceError, requires_extra

if TYPE_CHECKING:
    from albert_edge.benchmark.devices.ssh_connection import SshConnection

__all__ = ["Ssh", "connect", "pack_package"]

_NAME_CHARACTERS = 100
_ODD = re.compile(r"[^\w.-]", re.ASCII)  # what a file system there might not take
_GRACE_S = 30  # for the answer of a worker that the keeper had to end


class Ssh:
    """A machine that is reached over SSH, as a `Device`.

    This package and the models go, each once, to a private temporary folder there, which is removed
    when we hang up, and also when the connection breaks: a process there sees to it.
    """

    def __init__(self, name: str, link: SshConnection) -> None:
        """Bring this package there.

        Raises:
            DeviceError: It cannot be copied.
        """
        self.name = name
        self._link = link
        self._sent: dict[Path, str | DeviceError] = {}  # where it is, or why it is not
        self._put("package.zip", pack_package())
        self._ask({"do": "unpack", "name": "package.zip"}, what="unpack this package")

    def send(self, path: Path) -> str:
        """Copy a file there, unless that was tried before."""
        if path not in self._sent:
            name = f"{len(self._sent)}-{_ODD.sub('_', path.name)[-_NAME_CHARACTERS:]}"
            try:
                self._sent[path] = self._put(name, path.read_bytes())
            except OSError as error:
                raise DeviceError(f"cannot read {path}: {error.strerror}.") from error
            except DeviceError as error:
                self._sent[path] = error
        if isinstance(sent := self._sent[path], DeviceError):
            raise sent
        return sent

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run one job in a fresh process there."""
        where = f"{job.get('path', 'the job')} on {self.name}"
        reply = self._ask(
            {"do": "run", "job": dict(job), "timeout_s": timeout_s},
            what="start a process",
            timeout_s=timeout_s + _GRACE_S,
        )
        if "timeout" in reply:
            raise DeviceError(
                f"{where} took over {timeout_s:g} s; give it more time, or measure fewer runs."
            )
        ending = describe_ending(reply.pop("returncode"))
        return read_answer(**reply, ending=ending, where=where)

    def close(self) -> None:
        """Remove what was sent and hang up; never raises."""
        self._link.close()

    def _put(self, name: str, blob: bytes) -> str:
        request = {"do": "put", "name": name, "size": len(blob)}
        size = f"{len(blob) / 1e6:.1f} MB"
        reply = self._ask(request, blob=blob, what=f"copy {name} ({size}) there")
        if reply["sha256"] != hashlib.sha256(blob).hexdigest():
            raise DeviceError(f"{name} arrived damaged on {self.name}; try again.")
        path: str = reply["path"]
        return path

    def _ask(self, request: dict[str, Any], *, what: str, **options: Any) -> dict[str, Any]:
        reply = self._link.ask(request, **options)
        if "error" in reply:
            raise DeviceError(
                f"cannot {what}: {reply['error']}. {self.name} has "
                f"{reply['free_bytes'] / 1e6:.1f} MB free in {self._link.folder}; make room there, "
                "or set TMPDIR for its logins."
            )
        return reply


def connect(address: str) -> Ssh:
    """Open the device at `ssh://[USER@]HOST[:PORT][?python=PATH]`.

    Keys and settings come from ssh-agent and `~/.ssh`, as for `ssh` itself.  The host key must be
    in a `known_hosts` file; it is never accepted silently.

    Raises:
        ConfigError: The address is of another form.
        DeviceError: The device cannot be reached, refuses us, has no Python that can run the
            worker, or no room.
        MissingExtraError: asyncssh is not installed.
    """
    parsed = parse_address(address)
    with requires_extra():
        from albert_edge.benchmark.devices.ssh_connection import SshConnection
    link = SshConnection(parsed)
    try:
        return Ssh(address, link)
    except BaseException:
        link.close()
        raise


# This package, made ready to be sent to a device.


def pack_package() -> bytes:
    """Return the modules of this package as a zip file: those that are running, without models.

    The package's name and version are in it, as in a wheel, so that the worker tells them.
    """
    root = Path(albert_edge.__file__).parent
    about = f"Metadata-Version: 2.1\nName: albert_edge\nVersion: {albert_edge.__version__}\n"
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w", zipfile.ZIP_DEFLATED) as parcel:
        parcel.writestr(f"albert_edge-{albert_edge.__version__}.dist-info/METADATA", about)
        for path in sorted(root.rglob("*.py")):
            parcel.write(path, path.relative_to(root.parent))
    return blob.getvalue()
