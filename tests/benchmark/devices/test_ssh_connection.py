"""The connection to the agent on a device, and how it ends."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest

from albert_edge.benchmark.devices import ssh_config, ssh_connection
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


REPLIES: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"albert_edge 5\nxxxxx", "its reply is not JSON"),
    "deep JSON": (b"albert_edge 200000\n" + b"[" * 200000, "its reply is not JSON"),
    "a list": (b"albert_edge 2\n[]", r"its reply is \[\]"),
    "nothing of use": (b"albert_edge 2\n{}", r"it replied \{\}, unlike the agent"),
    "a folder that is no path": (b'albert_edge 12\n{"folder":1}', "unlike the agent"),
    "a strange package": (b'albert_edge 17\n{"missing":["x"]}', "unlike the agent"),
    "packages of no kind": (b'albert_edge 18\n{"missing":[[{}]]}', "unlike the agent"),
    "a huge reply": (b"albert_edge 999999999\n{", "its reply has 999999999 bytes; at most"),
    "a number of digits": (
        b"albert_edge " + b"9" * 3_000_000 + b"\n",
        "something else than a repl",
    ),
    "one endless line": (b"x" * 9_000_000, "it writes something else than a reply: b'x"),
    "endless lines": (b"x\n" * 4_000_000, "it writes something else than a reply: b'x'"),
}


@pytest.mark.parametrize(("reply", "message"), REPLIES.values(), ids=REPLIES)
def test_a_device_that_replies_otherwise_is_an_error(
    reply: bytes, message: str, friends: Server, make_address: Addresses, tmp_path: Path
) -> None:
    (tmp_path / "reply").write_bytes(reply)
    started = time.monotonic()
    with pytest.raises(DeviceError, match=message):
        open_device(make_address(f"cat {tmp_path / 'reply'}; exec >&-; sleep 30"))
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("cat /dev/zero", "it writes something else than a reply"),
        ("exec >&-; cat /dev/zero >&2", "cannot run|no Python on"),
        ("cat /dev/zero >&2", "no reply of the agent within 2 s"),
    ],
)
def test_a_device_that_floods_is_an_error_in_bounded_memory(
    script: str,
    message: str,
    friends: Server,
    make_address: Addresses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ssh_connection, "_START_S", 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with pytest.raises(DeviceError, match=message):
        open_device(make_address(script))
    assert time.monotonic() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000  # kB


GREETING = """printf 'albert_edge 17\\n{"folder":"/tmp"}'; """


def test_a_device_that_greets_and_falls_silent_is_an_error(
    friends: Server, make_address: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_connection, "_REPLY_S", 1)
    monkeypatch.setattr(ssh_connection, "_MIN_BYTES_PER_S", 1e9)
    with pytest.raises(DeviceError, match=r"is lost \(no reply within 1\.?\d* s\)"):
        open_device(make_address(f"{GREETING} exec sleep 30"))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("{}", r"returned \{\} instead of a reply with sha256"),
        ('{"sha256":7}', "instead of a reply with sha256"),
        ('{"sha256":""}', "arrived damaged"),
        ('{"error":"e","free_bytes":"x"}', "instead of a reply with free_bytes"),
        ('{"error":[[]]}', "instead of a reply with free_bytes"),
        ("[1,2]", r"its reply is \[1, 2\]"),
    ],
)
def test_a_device_that_greets_and_replies_otherwise_is_an_error(
    reply: str, message: str, friends: Server, make_address: Addresses
) -> None:
    second = f"printf 'albert_edge {len(reply)}\\n%s' '{reply}'; exec cat >/dev/null"
    with pytest.raises(DeviceError, match=message):
        open_device(make_address(f"{GREETING} {second}"))


def test_a_login_banner_is_skipped(friends: Server, make_address: Addresses) -> None:
    device = open_device(make_address('printf "Welcome\\nto this board"; exec "$PYTHON" "$@"'))
    assert device.run({"do": "describe"}, timeout_s=60)["cores"] >= 1
    device.close()


PACKET = b"\0\0\0\x0c\x0a"  # its length, and that of its padding
# Of a disconnection, ignored and debug messages, key exchange, login, channels, and no known type.
PACKET_TYPES = (1, 2, 3, 4, 5, 6, 7, 20, 21, 30, 31, 50, 51, 52, 53, 80, 81, 90, 98, 99, 192, 255)


@pytest.mark.parametrize(
    "said",
    [
        *(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 99, b"SSH-1.5-old\r\n", b"\0\xff" * 9999),
        *(b"SSH-2.0-silent\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 99999, b"x" * 50_000_000),
        *(b"SSH-2.0-x\r\n" + random.Random(seed).randbytes(4000) for seed in range(5)),
        *(b"SSH-2.0-x\r\n" + PACKET + bytes([number]) + bytes(99) for number in PACKET_TYPES),
    ],
    ids=str,
)
def test_something_else_listens(said: bytes, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_config, "_CONNECT_S", 1)
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


@EITHER_SERVER
def test_an_unknown_host_key_is_never_accepted(
    home: Path, server: Server, make_address: Addresses
) -> None:
    server.authorized_keys.write_bytes((home / ".ssh/id_ed25519.pub").read_bytes())
    (home / ".ssh/config").write_text(
        "Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile none\n"
    )
    with pytest.raises(DeviceError) as caught:
        open_device(make_address())
    text = str(caught.value)
    assert "is unknown: ssh-ed25519 SHA256:" in text
    assert f"ssh-keyscan -p {server.port} {HOST} >> ~/.ssh/known_hosts" in text
    assert not (home / ".ssh/known_hosts").exists()


def test_another_host_key_than_before_is_refused(
    friends: Server, home: Path, make_address: Addresses
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (home / ".ssh/known_hosts").write_text(f"[{HOST}]:{friends.port} {other}")
    expected = (
        rf"differs from the one in known_hosts: .*: ssh-keygen -R '\[{HOST}\]:{friends.port}'"
    )
    with pytest.raises(DeviceError, match=expected):
        open_device(make_address())


def test_a_host_that_was_known_by_another_kind_of_key(
    friends: Server, home: Path, make_address: Addresses
) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    (home / ".ssh/known_hosts").write_text(f"[{HOST}]:{friends.port} {other}")
    with pytest.raises(DeviceError, match=rf"Does 'ssh -p {friends.port} \w+@{HOST} true' work"):
        open_device(make_address())


def test_a_key_that_the_server_refuses(friends: Server, make_address: Addresses) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    other.write_public_key(friends.authorized_keys)
    expected = rf"refuses every available key .*ssh-copy-id -p {friends.port} \w+@{HOST} installs"
    with pytest.raises(DeviceError, match=expected):
        open_device(make_address())


def test_an_unknown_host() -> None:
    with pytest.raises(DeviceError, match=r"there is no host 'board\.invalid' \(.+\): check"):
        open_device("ssh://pi@board.invalid")
    with pytest.raises(DeviceError, match="there is no host"):
        open_device(f"ssh://{'a' * 64}.invalid")


def test_no_server_listens(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # and does not listen
        with pytest.raises(
            DeviceError, match=r"cannot be reached \(Connection refused\): check that its"
        ):
            open_device(f"ssh://{HOST}:{taken.getsockname()[1]}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config", "Port none\n", r"no SSH connection to .*\.ssh/config line 1: Invalid Port"),
        ("config", "IdentityFile ~/.ssh/lost\n", r"(?s)be reached.*/\.ssh/lost does not exist"),
        ("config", "Port \xff\n", "no SSH connection to .*'utf-8' codec"),
        ("id_ed25519", "no key\n", "no SSH connection to .*Invalid private key"),
    ],
)
def test_a_damaged_key_or_configuration(name: str, content: str, message: str, home: Path) -> None:
    (home / ".ssh" / name).write_text(content, encoding="latin-1")
    with pytest.raises(DeviceError, match=message):
        open_device(f"ssh://{HOST}:9")
