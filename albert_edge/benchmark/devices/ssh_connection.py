"""The SSH connection to a device, and the exchange of requests and replies with the agent there.

`start_agent` finds a Python on the device that can run the worker, and starts the agent in it.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import os
import re
import reprlib
import shlex
import socket
import struct
import threading
import zlib
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import asyncssh

from albert_edge.benchmark.devices import remote_agent
from albert_edge.benchmark.devices.ssh_address import SshAddress
from albert_edge.benchmark.devices.ssh_config import read_ssh_config
from albert_edge.errors import DeviceError

T = TypeVar("T")
_MAX_HOPS = 8
_START_S = 60  # an old SD card may need many seconds to start Python for the first time
_CLOSE_S = 10
_KEEPALIVE_S = 10  # the connection is lost after three times as long without a response
_CHUNK_BYTES = 1 << 20
_PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
_SOURCE = inspect.getsource(remote_agent).encode()
# No character that a shell interprets between single quotes.
_BOOTSTRAP = (
    'import sys; sys.version_info < (3, 10) and sys.exit("Python " + sys.version.split()[0] '
    '+ " is too old, 3.10 is required"); sys.path[:] = filter(None, sys.path); '
    f"exec(sys.stdin.buffer.read({len(_SOURCE)}))"
)
_REPLY = re.compile(rb"albert_edge (\d{1,9})\n")
_MAX_REPLY_BYTES = 256 << 20  # the longest measurement returns some 100 MB of samples
_MAX_OTHER_BYTES = 1 << 20  # of banners and warnings before a reply
_REPLY_S = 120  # to write to a slow SD card, and to compile the package there
_MAX_LINE_BYTES = 1 << 12
_MIN_BYTES_PER_S = 10_000
# What asyncssh raises if a server keeps to no protocol, besides its own errors.
_PROTOCOL_ERRORS = (
    *(asyncssh.Error, ArithmeticError, AssertionError, AttributeError, EOFError, LookupError),
    *(OSError, RuntimeError, TypeError, ValueError, asyncio.TimeoutError, struct.error, zlib.error),
)
_NOT_FOUND = 127  # the exit code of a POSIX shell
_PORT = 22


class SshConnection:
    """A connection to a device, with an agent there.

    It runs in a thread of its own, so that keepalive messages are sent during computation too.

    Attributes:
        folder: The agent's folder on the device.
    """

    def __init__(self, address: SshAddress) -> None:
        """Connect, and start the agent.

        Raises:
            DeviceError: The device cannot be reached, refuses the login, or has no Python that can
                run the worker.
        """
        self._name = address.text
        self._lost_reason: str | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._agent: asyncssh.SSHClientProcess[bytes] | None = None
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run_loop(ready)), name=self._name, daemon=True
        )
        self._thread.start()
        ready.wait()
        try:
            self._wait_for(self._open(address), None)
        except BaseException:
            self.close()
            raise

    def request(
        self, request: dict[str, Any], *, blob: bytes = b"", timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Send a request to the agent and return its reply.

        Args:
            request: The request.
            blob: The bytes that follow it.
            timeout_s: When to treat the connection as lost; if left out, when a slow device would
                have stored the blob.

        Raises:
            DeviceError: The connection is lost; all later requests fail too.
        """
        timeout_s = timeout_s or _REPLY_S + len(blob) / _MIN_BYTES_PER_S
        if self._lost_reason is None:
            try:
                return self._wait_for(self._exchange(request, blob), timeout_s)
            except _PROTOCOL_ERRORS as error:
                self._lost_reason = str(error) or f"no reply within {timeout_s:g} s"
        raise DeviceError(
            f"the connection to {self._name} is lost ({self._lost_reason}). Completed measurements "
            "are saved in the file of --json, if given, and --resume continues later."
        )

    def close(self) -> None:
        """Let the agent clean up, and disconnect; never raises."""
        if not self._thread.is_alive():
            return
        with suppress(Exception):
            self._wait_for(self._disconnect(), _CLOSE_S)
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_CLOSE_S)

    async def _run_loop(self, ready: threading.Event) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        # Each error reaches `_wait_for` too; by default the loop prints a traceback of some.
        self._loop.set_exception_handler(lambda *_: None)
        ready.set()
        await self._closing.wait()

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
            self._agent, greeting = await asyncio.wait_for(
                start_agent(self._connection, address), _START_S
            )
        except _PROTOCOL_ERRORS as error:
            reason = str(error) or f"no reply of the agent within {_START_S} s"
            raise DeviceError(f"{self._name} cannot run a command: {reason}.") from error
        self.folder: str = greeting["folder"]

    async def _exchange(self, request: dict[str, Any], blob: bytes) -> dict[str, Any]:
        starts = range(0, len(blob), _CHUNK_BYTES)
        chunks = (blob[start : start + _CHUNK_BYTES] for start in starts)
        assert self._agent is not None  # noqa: S101 (set by _open)
        line = json.dumps(request).encode() + b"\n"
        return await exchange(self._agent, itertools.chain([line], chunks))

    async def _disconnect(self) -> None:
        if self._connection is None:
            return
        try:
            if self._agent is not None and self._lost_reason is None:
                self._agent.stdin.write_eof()
                await self._agent.wait_closed()
        finally:
            self._connection.close()
            await self._connection.wait_closed()


async def _connect(
    address: SshAddress, through: Sequence[SshAddress] = (), *, hops: int = 0
) -> asyncssh.SSHClientConnection:
    """Connect, through the given hosts or those of ProxyJump; each host's key is checked."""
    if hops > _MAX_HOPS:
        raise DeviceError(
            f"{address.text} is reached through more than {_MAX_HOPS} hosts, perhaps "
            "in a circle: check ProxyJump in the SSH configuration."
        )
    tunnel, config, watch = None, None, HostKeyWatch()
    try:
        config = read_ssh_config(address)
        watch.known_hosts = config.known_hosts
        if jumps := through or config.jumps:
            tunnel = await _connect(jumps[-1], jumps[:-1], hops=hops + 1)
        connection = await asyncssh.connect(
            address.host,
            address.port or (),
            username=address.user or (),
            client_factory=lambda: watch,
            # Given here, so that no configuration can turn the check off.
            known_hosts=config.known_hosts,
            keepalive_interval=_KEEPALIVE_S,
            **{**config.arguments, "tunnel": tunnel},
        )
    except _PROTOCOL_ERRORS as error:
        if tunnel is not None:
            tunnel.close()
        notes = () if config is None else config.notes
        raise DeviceError(explain_ssh_error(error, address, watch, notes)) from error
    if tunnel is not None:
        connection.set_tunnel(tunnel)  # closed with it
    return connection


async def start_agent(
    connection: asyncssh.SSHClientConnection, address: SshAddress
) -> tuple[asyncssh.SSHClientProcess[bytes], dict[str, Any]]:
    """Start the agent in the first Python on the device that has the worker's packages.

    Returns:
        The agent's process and its first reply: its `folder`, and the version of `python`.

    Raises:
        DeviceError: There is no such Python, or no space for a folder.
    """
    failures: dict[str, str] = {}
    missing: dict[str, list[str]] = {}
    for python in [address.python] if address.python else _PYTHONS:
        process = await connection.create_process(
            f"{shlex.quote(python)} -c {shlex.quote(_BOOTSTRAP)}", encoding=None, request_pty=False
        )
        try:
            greeting = await exchange(process, [_SOURCE])
        except EOFError as error:
            if process.exit_status != _NOT_FOUND:
                failures[python] = str(error)
            continue
        if isinstance(greeting.get("folder"), str):
            return process, greeting
        if "error" in greeting:
            raise DeviceError(
                f"{address.text} cannot create a temporary folder: {greeting['error']}."
            )
        names = greeting.get("missing")
        if isinstance(names, list) and {*map(str, names)} <= {*remote_agent.REQUIRED_PACKAGES}:
            missing[python] = names
            failures[python] = f"Python {greeting.get('python')} lacks {', '.join(names)}"
        else:
            failures[python] = f"it replied {reprlib.repr(greeting)}, unlike the agent"
    raise DeviceError(_explain_no_python(address, failures, missing))


async def exchange(
    process: asyncssh.SSHClientProcess[bytes], chunks: Iterable[bytes]
) -> dict[str, Any]:
    """Send bytes to the agent and read its reply.

    Raises:
        EOFError: The process has ended, in which case the message contains its exit code and last
            output, or it writes something else than a reply.
        asyncssh.Error: The connection is lost.
    """
    with suppress(BrokenPipeError):  # the process has ended; see below
        for chunk in chunks:
            process.stdin.write(chunk)
            await process.stdin.drain()
    last_line, other_bytes = b"", 0
    while line := await process.stdout.readline():
        last_line = line.strip()[-_MAX_LINE_BYTES:] or last_line
        if match := _REPLY.fullmatch(line):
            return await _read_reply(process, int(match[1]))
        if (other_bytes := other_bytes + len(line)) > _MAX_OTHER_BYTES:
            raise EOFError(f"it writes something else than a reply: {reprlib.repr(last_line)}")
    output = (await _read_end(process.stderr)).strip() or last_line
    last = output.decode("utf-8", "replace").splitlines()[-1:]
    await process.wait_closed()
    code, killed_by = process.exit_status, process.exit_signal
    if code is None:
        raise EOFError("the connection was closed")
    ending = f"exit code {code}" if killed_by is None else f"killed by SIG{killed_by[0]}"
    raise EOFError(": ".join([ending, *last]))


async def _read_reply(process: asyncssh.SSHClientProcess[bytes], size: int) -> dict[str, Any]:
    if size > _MAX_REPLY_BYTES:
        raise EOFError(f"its reply has {size} bytes; at most {_MAX_REPLY_BYTES} are read")
    try:
        reply = json.loads(await process.stdout.readexactly(size))
    except (ValueError, RecursionError) as error:
        raise EOFError(f"its reply is not JSON: {error}") from error
    if not isinstance(reply, dict):
        raise EOFError(f"its reply is {reprlib.repr(reply)}")
    return reply


async def _read_end(stream: asyncssh.SSHReader[bytes]) -> bytes:
    """Return the last bytes of a stream that ends, or of the most that is read of any."""
    end = b""
    for _ in range(_MAX_OTHER_BYTES // _MAX_LINE_BYTES):
        if not (chunk := await stream.read(_MAX_LINE_BYTES)):
            break
        end = (end + chunk)[-_MAX_LINE_BYTES:]
    return end


def _explain_no_python(
    address: SshAddress, failures: dict[str, str], missing: dict[str, list[str]]
) -> str:
    device = address.text.partition("?")[0]
    choose = f"choose one: --device '{device}?python=~/venv/bin/python'."
    if not failures:
        python = address.python or "python3"
        return f"there is no {python} on {device}: install Python 3.10 or newer there, or {choose}"
    listed = "".join(f"\n  {python}: {reason}" for python, reason in failures.items())
    if not missing:
        return (
            f"no Python on {device} can run the worker:{listed}\n"
            f"Install Python 3.10 or newer there, or {choose}"
        )
    python, packages = next(iter(missing.items()))
    install = shlex.join([python, "-m", "pip", "install", *packages])
    create = f"{shlex.join([python, '-m', 'venv', 'venv'])} && venv/bin/pip install "
    return (
        f"no Python on {device} has the packages that the worker needs:{listed}\n"
        f"Install them: {address.login} {shlex.quote(install)}\n"
        "Or, where pip requires a virtual environment: "
        f"{address.login} {shlex.quote(create + ' '.join(remote_agent.REQUIRED_PACKAGES))}\n"
        f"and {choose} On older boards tflite-runtime works instead of ai-edge-litert."
    )


# Explain why a device cannot be reached over SSH, and what to do.
#
# `HostKeyWatch` records a host key that was refused; `explain_ssh_error` writes the message.


class HostKeyWatch(asyncssh.SSHClient):
    """Refuse a host key that is not in the `known_hosts` files, and record it.

    Attributes:
        known_hosts: The keys of known hosts.
        unknown: The key's algorithm and fingerprint; None if no key was refused.
        entry: The host's name in the `known_hosts` files.
        changed: Whether the files contain another key of that host.
    """

    known_hosts = asyncssh.import_known_hosts("")
    unknown: str | None = None
    entry = ""
    changed = False

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Refuse the key; asyncssh calls this only for a key that is not in the files."""
        self.unknown = f"{key.get_algorithm()} {key.get_fingerprint()}"
        self.entry = host if port == _PORT else f"[{host}]:{port}"
        other = None if port == _PORT else port
        known = asyncssh.match_known_hosts(self.known_hosts, host, addr, other)
        self.changed = bool(known[0])
        return False


def explain_ssh_error(
    error: Exception, address: SshAddress, watch: HostKeyWatch, notes: Sequence[str] = ()
) -> str:
    """Explain why the connection to `address` failed, and what to do.

    Args:
        error: What was raised.
        address: The address.
        watch: What is known of the host's key.
        notes: What the configuration contains and was not used.
    """
    return "\n  ".join([_explain(error, address, watch), *notes])


def _explain(error: Exception, address: SshAddress, watch: HostKeyWatch) -> str:
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
