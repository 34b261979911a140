"""The connection to a device over SSH, and the conversation with the keeper there."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import re
import shlex
import threading
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import asyncssh

from albert_edge.benchmark.devices import remote_agent
from albert_edge.benchmark.devices.ssh_address import SshAddress
from albert_edge.benchmark.devices.ssh_errors import HostKeyWatch, explain_ssh_error, known_hosts
from albert_edge.errors import DeviceError

__all__ = ["SshConnection", "exchange", "start_agent"]

T = TypeVar("T")
_CONNECT_S = 20
_HELLO_S = 60  # an old card may need many seconds to start Python for the first time
_CLOSE_S = 10
_ALIVE_S = 10  # a device that is silent for three times as long is gone
_CHUNK_BYTES = 1 << 20
_PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
_SOURCE = inspect.getsource(remote_agent).encode()
# Without a character that some shell reads otherwise between single quotes.
_BOOT = (
    'import sys; sys.version_info < (3, 10) and sys.exit("Python " + sys.version.split()[0] '
    '+ " is too old, 3.10 is needed"); sys.path[:] = filter(None, sys.path); '
    f"exec(sys.stdin.buffer.read({len(_SOURCE)}))"
)
_REPLY = re.compile(rb"albert_edge (\d+)\n")
_NOT_FOUND = 127  # the exit code of a POSIX shell


class SshConnection:
    """A connection to a device, and a keeper there.

    It lives in a thread of its own, so that the device hears of us also while we compute.

    Attributes:
        folder: The folder that the keeper keeps there.
    """

    def __init__(self, address: SshAddress) -> None:
        """Connect, and start a keeper.

        Raises:
            DeviceError: The device cannot be reached, refuses us, or has no Python for the worker.
        """
        self._name = address.text
        self._lost: str | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._keeper: asyncssh.SSHClientProcess[bytes] | None = None
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(ready)), name=self._name, daemon=True
        )
        self._thread.start()
        ready.wait()
        try:
            self._wait_for(self._open(address), None)
        except BaseException:
            self.close()
            raise

    def ask(
        self, request: dict[str, Any], *, blob: bytes = b"", timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Ask the keeper for something and return its answer.

        Args:
            request: What for.
            blob: What goes behind the request.
            timeout_s: When to give the device up.

        Raises:
            DeviceError: The connection is lost; then it stays so.
        """
        if self._lost is None:
            try:
                return self._wait_for(self._exchange(request, blob), timeout_s)
            except (asyncssh.Error, OSError, EOFError, asyncio.TimeoutError) as error:
                self._lost = str(error) or f"no answer within {timeout_s} s"
        raise DeviceError(
            f"{self._name} is gone ({self._lost}). What was measured is kept in the file of "
            "--json, if one was given, and --resume goes on when the device is back."
        )

    def close(self) -> None:
        """Let the keeper clean up, and hang up; never raises."""
        if not self._thread.is_alive():
            return
        with suppress(Exception):
            self._wait_for(self._hang_up(), _CLOSE_S)
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_CLOSE_S)

    async def _live(self, ready: threading.Event) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await self._over.wait()

    def _wait_for(self, work: Coroutine[Any, Any, T], timeout_s: float | None) -> T:
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._loop)
        try:
            return future.result()
        except BaseException:  # also Control-C in this thread
            future.cancel()
            raise

    async def _open(self, address: SshAddress) -> None:
        self._connection = await _connect(address)
        try:
            self._keeper, hello = await asyncio.wait_for(
                start_agent(self._connection, address), _HELLO_S
            )
        except (asyncssh.Error, OSError, asyncio.TimeoutError) as error:
            said = str(error) or f"it says nothing of ours within {_HELLO_S} s"
            raise DeviceError(f"{self._name} does not run a command for us: {said}.") from error
        self.folder = hello["folder"]

    async def _exchange(self, request: dict[str, Any], blob: bytes) -> dict[str, Any]:
        starts = range(0, len(blob), _CHUNK_BYTES)
        chunks = (blob[start : start + _CHUNK_BYTES] for start in starts)
        assert self._keeper is not None  # noqa: S101 (or there would be no link)
        line = json.dumps(request).encode() + b"\n"
        return await exchange(self._keeper, itertools.chain([line], chunks))

    async def _hang_up(self) -> None:
        if self._connection is None:
            return
        try:
            if self._keeper is not None and self._lost is None:
                self._keeper.stdin.write_eof()
                await self._keeper.wait_closed()
        finally:
            self._connection.close()
            await self._connection.wait_closed()


async def _connect(address: SshAddress) -> asyncssh.SSHClientConnection:
    watch = HostKeyWatch()
    try:
        return await asyncssh.connect(
            address.host,
            address.port or (),
            username=address.user or (),
            client_factory=lambda: watch,
            # Given here, so that no configuration can turn the check off.
            known_hosts=[str(path) for path in known_hosts()],
            connect_timeout=_CONNECT_S,
            keepalive_interval=_ALIVE_S,
        )
    except (asyncssh.Error, OSError, ValueError, asyncio.TimeoutError) as error:
        raise DeviceError(explain_ssh_error(error, address, watch)) from error


# Find a Python on a device that can run the worker, and start the keeper in it.


async def start_agent(
    connection: asyncssh.SSHClientConnection, address: SshAddress
) -> tuple[asyncssh.SSHClientProcess[bytes], dict[str, Any]]:
    """Start the keeper in the first Python there that has what the worker needs.

    Returns:
        The keeper's process and what it said first: its `folder`, and the version of `python`.

    Raises:
        DeviceError: There is no such Python, or no room for a folder.
    """
    unfit: dict[str, str] = {}
    lacking: dict[str, list[str]] = {}
    for python in [address.python] if address.python else _PYTHONS:
        process = await connection.create_process(
            f"{shlex.quote(python)} -c {shlex.quote(_BOOT)}", encoding=None, request_pty=False
        )
        try:
            hello = await exchange(process, [_SOURCE])
        except EOFError as error:
            if process.exit_status != _NOT_FOUND:
                unfit[python] = str(error)
            continue
        if "folder" in hello:
            return process, hello
        if "error" in hello:
            raise DeviceError(
                f"{address.text} has no room for a temporary folder: {hello['error']}."
            )
        lacking[python] = hello["missing"]
        unfit[python] = f"Python {hello['python']} lacks {', '.join(hello['missing'])}"
    raise DeviceError(_explain(address, unfit, lacking))


async def exchange(
    process: asyncssh.SSHClientProcess[bytes], said: Iterable[bytes]
) -> dict[str, Any]:
    """Say something to the keeper and read its reply.

    Raises:
        EOFError: It has ended; the message says how.
        asyncssh.Error: The connection is lost.
    """
    with suppress(BrokenPipeError):  # it has ended; reading tells how
        for blob in said:
            process.stdin.write(blob)
            await process.stdin.drain()
    heard = b""
    while line := await process.stdout.readline():
        heard = line.strip() or heard
        if match := _REPLY.fullmatch(line):
            reply: dict[str, Any] = json.loads(await process.stdout.readexactly(int(match[1])))
            return reply
    words = (await process.stderr.read()).strip() or heard
    last = words.decode("utf-8", "replace").splitlines()[-1:]
    await process.wait_closed()
    code, ended_by = process.exit_status, process.exit_signal
    if code is None:
        raise EOFError("the connection was closed")
    ending = f"exit code {code}" if ended_by is None else f"killed by SIG{ended_by[0]}"
    raise EOFError(": ".join([ending, *last]))


def _explain(address: SshAddress, unfit: dict[str, str], lacking: dict[str, list[str]]) -> str:
    bare = address.text.partition("?")[0]
    name_one = f"name another one: --device '{bare}?python=~/venv/bin/python'."
    if not unfit:
        wanted = address.python or "python3"
        return f"there is no {wanted} on {bare}: install Python 3.10 or newer there, or {name_one}"
    listed = "".join(f"\n  {python}: {why}" for python, why in unfit.items())
    if not lacking:
        return (
            f"no Python on {bare} can run the worker:{listed}\n"
            f"Install Python 3.10 or newer there, or {name_one}"
        )
    python, packages = next(iter(lacking.items()))
    install = shlex.join([python, "-m", "pip", "install", *packages])
    create = f"{shlex.join([python, '-m', 'venv', 'venv'])} && venv/bin/pip install "
    return (
        f"no Python on {bare} has what the worker needs:{listed}\n"
        f"Install it: {address.login} {shlex.quote(install)}\n"
        "Or, where pip wants a virtual environment: "
        f"{address.login} {shlex.quote(create + ' '.join(remote_agent.NEEDED))}\n"
        f"and {name_one} An older board may have tflite-runtime instead of ai-edge-litert."
    )
