"""Why a device cannot be reached: each cause has its own explanation."""

from __future__ import annotations

import socket
from pathlib import Path

import asyncssh
import pytest

from albert_edge.benchmark.devices.device import open_device
from albert_edge.errors import DeviceError
from benchmark.devices.samples import EITHER_SERVER, Addresses
from benchmark.devices.servers import HOST, Server


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
        ("config", "IdentityFile ~/.ssh/lost\n", r"cannot read .*/\.ssh/lost: No such file"),
        ("config", "Port \xff\n", "no SSH connection to .*'utf-8' codec"),
        ("id_ed25519", "no key\n", "no SSH connection to .*Invalid private key"),
    ],
)
def test_a_damaged_key_or_configuration(name: str, content: str, message: str, home: Path) -> None:
    (home / ".ssh" / name).write_text(content, encoding="latin-1")
    with pytest.raises(DeviceError, match=message):
        open_device(f"ssh://{HOST}:9")
