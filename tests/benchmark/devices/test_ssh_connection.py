"""The connection to the agent on a device, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from albert_edge.benchmark.devices import ssh_connection
from albert_edge.benchmark.devices.device import open_device
from albert_edge.errors import DeviceError, MissingExtraError
from benchmark.devices.samples import EITHER_SERVER, Addresses
from benchmark.devices.servers import HOST, Server


@pytest.mark.parametrize("server", ["asyncssh"], indirect=True)  # one process, easily stopped
def test_a_device_that_is_switched_off_is_an_error(
    friends: Server, make_address: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_connection, "_KEEPALIVE_S", 0.5)
    device = open_device(make_address())
    friends.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(DeviceError, match=r"is lost \(.*not responding to keepalive\)"):
            device.run({"do": "describe"}, timeout_s=60)
        device.close()
    finally:
        friends.process.send_signal(signal.SIGCONT)


@EITHER_SERVER
def test_a_killed_agent_is_reported(
    friends: Server, make_address: Addresses, tmp_path: Path
) -> None:
    number = tmp_path / "number"
    device = open_device(make_address(f'echo $$ > {number}\nexec "$PYTHON" "$@"'))
    os.kill(int(number.read_text()), signal.SIGKILL)
    with pytest.raises(DeviceError, match=r"is lost \((killed by SIGKILL|exit code 137)"):
        device.run({"do": "describe"}, timeout_s=60)
    device.close()


def test_a_command_that_never_stops_printing(
    friends: Server, make_address: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_connection, "_START_S", 1)
    with pytest.raises(DeviceError, match="no reply of the agent within 1 s"):
        open_device(make_address("while sleep 0.05; do echo no; done"))


def test_a_login_banner_is_skipped(friends: Server, make_address: Addresses) -> None:
    device = open_device(make_address('printf "Welcome\\nto this board"; exec "$PYTHON" "$@"'))
    assert device.run({"do": "describe"}, timeout_s=60)["cores"] >= 1
    device.close()


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 99, b"SSH-1.5-old\r\n", b"\0\xff" * 9999],
)
def test_something_else_listens(said: bytes, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_connection, "_CONNECT_S", 1)
    with socket.create_server((HOST, 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # we may hang up before all is said
                connection.sendall(said)
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DeviceError, match=r"does not respond like|no SSH connection"):
            open_device(f"ssh://{HOST}:{listener.getsockname()[1]}")
        thread.join()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    monkeypatch.delitem(sys.modules, "albert_edge.benchmark.devices.ssh_connection")
    with pytest.raises(MissingExtraError, match=r"pip install 'albert_edge\[ssh\]'"):
        open_device(f"ssh://{HOST}")
