"""Explain why a device cannot be reached over SSH, and what to do.

`HostKeyWatch` records a host key that was refused; `explain_ssh_error` writes the message.
"""

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
    """Refuse a host key that is not in the `known_hosts` files, and record it.

    Attributes:
        unknown: The key's algorithm and fingerprint; None if no key was refused.
        entry: The host's name in the `known_hosts` files.
        changed: Whether the files contain another key of that host.
    """

    unknown: str | None = None
    entry = ""
    changed = False

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Refuse the key; asyncssh calls this only for a key that is not in the files."""
        self.unknown = f"{key.get_algorithm()} {key.get_fingerprint()}"
        self.entry = host if port == _PORT else f"[{host}]:{port}"
        files = [str(path) for path in known_hosts()]
        other = None if port == _PORT else port
        self.changed = bool(files and asyncssh.match_known_hosts(files, host, addr, other)[0])
        return False


def known_hosts() -> list[Path]:
    """Return the readable `known_hosts` files: the user's and the machine's."""
    files = Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts")
    return [path for path in files if os.access(path, os.R_OK)]


def explain_ssh_error(error: Exception, address: SshAddress, watch: HostKeyWatch) -> str:
    """Explain why the connection to `address` failed, and what to do."""
    host, login = address.host, address.login
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _explain_host_key(error, address, watch)
    if isinstance(error, asyncssh.PermissionDenied):
        return (
            f"{address.text} refuses every available key ({error.reason}): those of ssh-agent, of "
            f"~/.ssh/config, and ~/.ssh/id_* without a passphrase. '{login} true' must work "
            f"without a prompt; {_with_program(login, 'ssh-copy-id')} installs a key."
        )
    if isinstance(error, OSError) and error.filename is not None:  # a key or a configuration file
        return f"cannot read {error.filename}: {error.strerror}."
    invalid_name = isinstance(error, UnicodeError) and not isinstance(error, UnicodeDecodeError)
    if isinstance(error, socket.gaierror) or invalid_name:
        return (
            f"there is no host {host!r} ({_reason(error)}): check the name, or use the IP address. "
            "Names in a home network often end in .local."
        )
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return (
            f"{host} does not respond like an SSH server: check that it is on, in this network, "
            f"and that the port is right. Does '{login} true' work?"
        )
    if isinstance(error, OSError):
        return (
            f"{host} cannot be reached ({_reason(error)}): check that its SSH server runs (sudo "
            f"systemctl enable --now ssh), and that the port is right. Does '{login} true' work?"
        )
    return f"no SSH connection to {address.text} ({_reason(error)}). Does '{login} true' work?"


def _explain_host_key(
    error: asyncssh.HostKeyNotVerifiable, address: SshAddress, watch: HostKeyWatch
) -> str:
    if watch.unknown is None:  # revoked, or a certificate
        return f"the host key of {address.text} is refused: {error.reason}."
    if watch.changed:
        return (
            f"the host key of {address.text} differs from the one in known_hosts: {watch.unknown}. "
            "This may be an attack. If the device was set up again, remove the old key with: "
            f"ssh-keygen -R '{watch.entry}'"
        )
    scan = _with_program(address.login.rpartition(" ")[0] + f" {address.host}", "ssh-keyscan")
    return (
        f"the host key of {address.text} is unknown: {watch.unknown}. If the device reports the "
        "same (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), accept it with: "
        f"'{address.login} true', which asks, or '{scan} >> ~/.ssh/known_hosts'."
    )


def _with_program(login: str, program: str) -> str:
    return program + login.removeprefix("ssh")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
