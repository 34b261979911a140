"""The connection to a device over SSH, and the conversation with the keeper there."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import asyncssh

from albert_edge.benchmark.devices.address import Address
from albert_edge.benchmark.devices.pythons import exchange, start_keeper
from albert_edge.benchmark.devices.refusals import HostKeyWatch, explain_refusal, known_hosts
from albert_edge.errors import DeviceError

__all__ = ["Link"]

T = TypeVar("T")
_CONNECT_S = 20
_HELLO_S = 60  # an old card may need many seconds to start Python for the first time
_CLOSE_S = 10
_ALIVE_S = 10  # a device that is silent for three times as long is gone
_CHUNK_BYTES = 1 << 20


class Link:
    """A connection to a device, and a keeper there.

    It lives in a thread of its own, so that the device hears of us also while we compute.

    Attributes:
        folder: The folder that the keeper keeps there.
    """

    def __init__(self, address: Address) -> None:
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

    async def _open(self, address: Address) -> None:
        self._connection = await _connect(address)
        try:
            self._keeper, hello = await asyncio.wait_for(
                start_keeper(self._connection, address), _HELLO_S
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


async def _connect(address: Address) -> asyncssh.SSHClientConnection:
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
        raise DeviceError(explain_refusal(error, address, watch)) from error
