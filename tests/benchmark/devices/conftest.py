"""A device: a server on loopback, a home directory that has its keys, and Pythons there."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from albert_edge.benchmark.devices.device import open_device
from albert_edge.benchmark.devices.ssh import Ssh
from benchmark.devices.samples import Addresses
from benchmark.devices.servers import HOST, AsyncSsh, OpenSsh, Server


@pytest.fixture(scope="session")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """OpenSSH's server, or asyncssh's if it is not installed; a test may ask for either."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    kind = getattr(request, "param", "sshd" if program else "asyncssh")
    if kind == "sshd" and program is None:
        pytest.skip("no sshd is installed")
    folder = tmp_path_factory.mktemp(kind)
    running = OpenSsh(program, folder) if kind == "sshd" and program else AsyncSsh(folder)
    yield running
    running.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with a key that no server knows, that knows no server, and no agent."""
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(parents=True, mode=0o700)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "id_ed25519")
    key.write_public_key(folder / "id_ed25519.pub")
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder.parent


@pytest.fixture
def friends(home: Path, server: Server) -> Server:
    """The server, which knows our key, and we its own."""
    server.authorized_keys.write_bytes((home / ".ssh/id_ed25519.pub").read_bytes())
    (home / ".ssh/known_hosts").write_text(f"[{HOST}]:{server.port} {server.host_key}")
    return server


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder)
    return folder / "bin/python"


@pytest.fixture(scope="session")
def equipped_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with all that is installed here, but without an `albert_edge` to import."""
    folder = tmp_path_factory.mktemp("equipped")
    venv.create(folder)
    installed = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(installed, "here.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin/python"


@pytest.fixture
def folder_there(tmp_path: Path) -> Path:
    """Where temporary files lie on the device."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture
def make_address(
    equipped_python: Path, folder_there: Path, server: Server, tmp_path: Path
) -> Callable[..., str]:
    """A function `make_address(script)`: the device's address with a Python started by a script.

    Devices of other names are other devices.

    `script` is what a shell does with the arguments of Python, `$PYTHON` being the equipped one.
    """

    def make(script: str = 'exec "$PYTHON" "$@"', *, name: str = "python") -> str:
        # A name that a shell would take apart, were it not quoted.
        wrapper = tmp_path / f'it\'s my $HOME; "{name}" & co'
        wrapper.write_text(
            f"#!/bin/sh\nPYTHON={shlex.quote(str(equipped_python))}\n"
            f"export TMPDIR={shlex.quote(str(folder_there))}\n{script}\n"
        )
        wrapper.chmod(0o700)
        return f"ssh://{getpass.getuser()}@{HOST}:{server.port}?python={wrapper}"

    return make


@pytest.fixture
def device(friends: Server, make_address: Addresses) -> Iterator[Ssh]:
    opened = open_device(make_address())
    assert isinstance(opened, Ssh)
    yield opened
    opened.close()
