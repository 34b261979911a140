"""SSH servers on loopback, with keys made for them, and all that a failure needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import asyncssh

__all__ = ["HOST", "AsyncSsh", "OpenSsh", "Server"]

HOST = "127.0.0.1"


class Server(Protocol):
    """An SSH server for the current user, on loopback."""

    process: subprocess.Popen[Any]
    port: int
    host_key: str
    authorized_keys: Path

    def drop(self) -> None:
        """Break every connection, as a device does that loses its power."""


class OpenSsh:
    """OpenSSH's own server."""

    def __init__(self, program: str, folder: Path) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        (folder / "host_key").touch(mode=0o600)
        key.write_private_key(folder / "host_key")
        self.host_key = key.export_public_key().decode()
        self.authorized_keys = folder / "authorized_keys"
        self.authorized_keys.touch()
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"ListenAddress {HOST}:{self.port}\n"
            f"HostKey {folder / 'host_key'}\n"
            f"AuthorizedKeysFile {self.authorized_keys}\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself up as root
        command = [program, "-D", "-e", "-f", folder / "sshd_config"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self._await_port()

    def _await_port(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port)):
                return
            time.sleep(0.01)
        raise AssertionError("sshd does not start")

    def drop(self) -> None:
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in map(int, children):
            os.kill(child, signal.SIGKILL)

    def stop(self) -> None:
        self.drop()
        self.process.kill()
        self.process.wait()


class AsyncSsh:
    """The server of asyncssh, in a process of its own, for machines without OpenSSH's."""

    def __init__(self, folder: Path) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / "host_key")
        self.host_key = key.export_public_key().decode()
        self.authorized_keys = folder / "authorized_keys"
        self.authorized_keys.touch()
        command = [sys.executable, __file__, folder]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def drop(self) -> None:
        self.process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


class _Login(asyncssh.SSHServer):
    def __init__(self, connections: set[asyncssh.SSHServerConnection], folder: Path) -> None:
        self._connections, self._folder = connections, folder

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        self._connection.set_authorized_keys(str(self._folder / "authorized_keys"))
        return True


async def _execute(process: asyncssh.SSHServerProcess[bytes]) -> None:
    assert process.command is not None
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(
        process.command, stdin=pipe, stdout=pipe, stderr=pipe
    )
    to_child = child.stdin
    assert to_child is not None
    taking = asyncio.create_task(_pass_on(process.stdin, to_child))
    taking.add_done_callback(lambda _: to_child.close())
    await asyncio.gather(
        _pass_on(child.stdout, process.stdout), _pass_on(child.stderr, process.stderr)
    )
    code = await child.wait()
    taking.cancel()
    if code < 0:
        process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
    else:
        process.exit(code)


async def _pass_on(source: Any, target: Any) -> None:
    # Until the command has ended or the connection is broken.
    with contextlib.suppress(OSError, asyncssh.Error):
        while chunk := await source.read(1 << 16):
            target.write(chunk)
            await target.drain()


async def _serve(folder: Path) -> None:
    connections: set[asyncssh.SSHServerConnection] = set()
    listener = await asyncssh.listen(
        HOST,
        0,
        server_host_keys=[str(folder / "host_key")],
        server_factory=lambda: _Login(connections, folder),
        process_factory=_execute,
        encoding=None,
    )
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, lambda: [connection.abort() for connection in list(connections)]
    )
    sys.stdout.write(f"{listener.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
