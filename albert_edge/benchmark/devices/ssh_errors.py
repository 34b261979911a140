"""Why a device cannot be reached over SSH, in words that say what to do."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import asyncssh

from albert_edge.benchmark.devices.ssh_address import SshAddress

__all__ = ["HostKeyWatch", "explain_ssh_error", "known_hosts"]

_PORT = 22


class HostKeyWatch(asyncssh.SSHClient):
    """Notes a host key that is not in the `known_hosts` files, and refuses it.

    Attributes:
        unknown: What it is, for people; None if there was none.
        place: Whose it is, as the files call it.
        changed: Whether the files have another key of that host.
    """

    unknown: str | None = None
    place = ""
    changed = False

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Refuse the key; called only where the files do not have it."""
        self.unknown = f"{key.get_algorithm()} {key.get_fingerprint()}"
        self.place = host if port == _PORT else f"[{host}]:{port}"
        files = [str(path) for path in known_hosts()]
        other = None if port == _PORT else port
        self.changed = bool(files and asyncssh.match_known_hosts(files, host, addr, other)[0])
        return False


def known_hosts() -> list[Path]:
    """Return the files of known host keys that there are: the user's and the machine's."""
    files = Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts")
    return [path for path in files if os.access(path, os.R_OK)]


def explain_ssh_error(error: Exception, address: SshAddress, watch: HostKeyWatch) -> str:
    """Say why there is no connection to `address`, and what to do."""
    host, login = address.host, address.login
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _explain_host_key(error, address, watch)
    if isinstance(error, asyncssh.PermissionDenied):
        return (
            f"{address.text} refuses every key we have ({error.reason}): those of ssh-agent, of "
            f"~/.ssh/config, and ~/.ssh/id_* without a passphrase. Once '{login} true' asks for "
            f"nothing, it works; {_with(login, 'ssh-copy-id')} brings a key there."
        )
    if isinstance(error, OSError) and error.filename is not None:  # a key, or a configuration
        return f"cannot read {error.filename}: {error.strerror}."
    no_name = isinstance(error, UnicodeError) and not isinstance(error, UnicodeDecodeError)
    if isinstance(error, socket.gaierror) or no_name:
        return (
            f"there is no host {host!r} ({_reason(error)}): check its name, or give its number. "
            "In a home network a name often ends in .local."
        )
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return (
            f"{host} does not answer as an SSH server does: is it on, in this network, and the "
            f"port right? Does '{login} true' work?"
        )
    if isinstance(error, OSError):
        return (
            f"{host} cannot be reached ({_reason(error)}): is its SSH server on (sudo systemctl "
            f"enable --now ssh), and the port right? Does '{login} true' work?"
        )
    return f"no SSH connection to {address.text} ({_reason(error)}). Does '{login} true' work?"


def _explain_host_key(
    error: asyncssh.HostKeyNotVerifiable, address: SshAddress, watch: HostKeyWatch
) -> str:
    if watch.unknown is None:  # revoked, or a certificate
        return f"the host key of {address.text} is refused: {error.reason}."
    if watch.changed:
        return (
            f"{address.text} shows another host key than the one in known_hosts: {watch.unknown}. "
            "Somebody may be in between. If the device was set up anew, forget the old key with: "
            f"ssh-keygen -R '{watch.place}'"
        )
    scan = _with(address.login.rpartition(" ")[0] + f" {address.host}", "ssh-keyscan")
    return (
        f"the host key of {address.text} is not known: {watch.unknown}. If that is what the device "
        "says itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), accept it with: "
        f"'{address.login} true', which asks, or '{scan} >> ~/.ssh/known_hosts'."
    )


def _with(login: str, program: str) -> str:
    return program + login.removeprefix("ssh")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
