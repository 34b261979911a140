"""Find a Python on a device that can run the worker, and start the keeper in it."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import asyncssh

from albert_edge.benchmark.devices import keeper
from albert_edge.benchmark.devices.address import Address
from albert_edge.errors import DeviceError

__all__ = ["exchange", "start_keeper"]

_PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")
_SOURCE = inspect.getsource(keeper).encode()
# Without a character that some shell reads otherwise between single quotes.
_BOOT = (
    'import sys; sys.version_info < (3, 10) and sys.exit("Python " + sys.version.split()[0] '
    '+ " is too old, 3.10 is needed"); sys.path[:] = filter(None, sys.path); '
    f"exec(sys.stdin.buffer.read({len(_SOURCE)}))"
)
_REPLY = re.compile(rb"albert_edge (\d+)\n")
_NOT_FOUND = 127  # the exit code of a POSIX shell


async def start_keeper(
    connection: asyncssh.SSHClientConnection, address: Address
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


def _explain(address: Address, unfit: dict[str, str], lacking: dict[str, list[str]]) -> str:
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
        f"{address.login} {shlex.quote(create + ' '.join(keeper.NEEDED))}\n"
        f"and {name_one} An older board may have tflite-runtime instead of ai-edge-litert."
    )
