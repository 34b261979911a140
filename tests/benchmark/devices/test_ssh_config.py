"""`albert_edge.benchmark.devices.ssh_config`: settings and keys, as `ssh` itself takes them."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from albert_edge.benchmark.devices import ssh_config
from albert_edge.benchmark.devices.device import open_device
from albert_edge.benchmark.devices.ssh_address import parse_address
from albert_edge.benchmark.devices.ssh_config import read_ssh_config
from albert_edge.errors import ConfigError, DeviceError
from benchmark.devices.samples import EITHER_SERVER, Addresses
from benchmark.devices.servers import HOST, Server


@pytest.fixture
def configure(home: Path) -> Callable[[str], None]:
    """A function that writes `~/.ssh/config`."""
    return lambda text: (home / ".ssh/config").write_text(text) and None


@pytest.fixture
def log_in(friends: Server, make_address: Addresses) -> Callable[..., None]:
    """A function that logs in to `board`, or another host, and runs a worker there."""
    python = make_address().partition("?")[2]

    def check(host: str = "board") -> None:
        device = open_device(f"ssh://{host}?{python}")
        assert device.run({"do": "describe"}, timeout_s=60)["cores"] >= 1
        device.close()

    return check


@pytest.fixture
def board(friends: Server) -> str:
    """The settings that name the server `board`."""
    return f"Host board\n  HostName {HOST}\n  Port {friends.port}\n  User {getpass.getuser()}\n"


@pytest.fixture
def agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of an ssh-agent, in the environment, that has the key of `~/.ssh/id_ed25519`."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent is installed: apt-get install openssh-client")
    socket = home / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    try:
        key = home / ".ssh/id_ed25519"
        key.chmod(0o600)
        # 2: it does not answer yet, which the socket's existence does not tell
        while subprocess.run(["ssh-add", "-q", key], capture_output=True).returncode == 2:
            assert process.poll() is None
        yield socket
    finally:
        process.kill()
        process.wait()


@EITHER_SERVER
def test_a_host_of_the_configuration(
    board: str, configure: Callable[[str], None], log_in: Callable[..., None]
) -> None:
    configure(f"# mine\n{board}Host *\n  User nobody  # for all others\n")
    log_in()


SPELLINGS = [
    "Host=board\nHostName={host}\nPort={port}\n",
    'Host other board\n  hostname "{host}"   # the board, here\n  PORT  {port} # and its port\n',
    "Host *oard !bored\n  ConnectTimeout 1m30s\n  HostName {host}\n  Port {port}\n",
    "Match originalhost board exec true\n  HostName {host}\n  Port {port}\n",
    "Match final host {host}\n  Port {port}\nHost board\n  HostName {host}\n",
    "Include conf.d/*.conf\n",
    "Host board\n  Include conf.d/*.conf\n",
    "Host board\n  HostName {host}\n  Port {port}\n  IgnoreUnknown Odd*\n  OddSetting yes\n",
    "Host board\n  HostName {host}\n  Port {port}\n  ControlMaster auto\n  AddKeysToAgent yes\n",
    "HostName {host}\nPort {port}\nServerAliveInterval 15s\nStrictHostKeyChecking ask\n",
    "Host board\n  ProxyCommand nc %h %p\n  HostName {host}\n  Port {port}\n  ProxyJump ignored\n",
    "Host board\n  ProxyJump none\n  HostName {host}\n  Port {port}\n  ProxyCommand false\n",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_openssh(
    text: str,
    friends: Server,
    home: Path,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    if "ProxyCommand nc" in text and shutil.which("nc") is None:
        text = text.replace("nc %h %p", "bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3'")
    (home / ".ssh/conf.d").mkdir()
    included = f"HostName {HOST}\nPort {friends.port}\n"
    (home / ".ssh/conf.d/a.conf").write_text(
        included if "Host board\n  Include" in text else f"Host board\n{included}"
    )
    configure(text.format(host=HOST, port=friends.port))
    log_in()


def test_a_missing_key_file_while_the_agent_has_the_key(
    agent: Path,
    home: Path,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    for name in ("id_ed25519", "id_ed25519.pub"):
        (home / ".ssh" / name).unlink()
    configure(f"{board}  IdentityFile ~/.ssh/lost\n  IdentityFile %d/.ssh/gone\n")
    log_in()


@pytest.mark.parametrize("setting", ["IdentityFile ~/.ssh/mine.pub", "IdentityFile ~/.ssh/mine"])
@pytest.mark.parametrize("only", ["", "\n  IdentitiesOnly yes"])
def test_a_public_key_chooses_one_of_the_agent(
    setting: str,
    only: str,
    agent: Path,
    home: Path,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    (home / ".ssh/id_ed25519").unlink()
    (home / ".ssh/id_ed25519.pub").rename(home / ".ssh/mine.pub")
    configure(f"{board}  {setting}{only}\n")
    log_in()


def test_an_encrypted_key_that_the_agent_has(
    agent: Path,
    home: Path,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    key = home / ".ssh/id_ed25519"
    shutil.copy(key, home / ".ssh/mine")
    (home / ".ssh/mine").chmod(0o600)
    encrypt = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "a phrase", "-f", home / ".ssh/mine"]
    subprocess.run(encrypt, check=True, stdout=subprocess.DEVNULL)
    (home / ".ssh/id_ed25519.pub").rename(home / ".ssh/mine.pub")
    key.unlink()
    configure(f"{board}  IdentityFile ~/.ssh/mine\n  IdentitiesOnly yes\n")
    log_in()


def test_only_the_keys_of_files_are_used_if_the_configuration_says_so(
    agent: Path,
    home: Path,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    (home / ".ssh/id_ed25519").unlink()
    configure(f"{board}  IdentityFile ~/.ssh/lost\n  IdentitiesOnly yes\n")
    with pytest.raises(DeviceError, match=r"(?s)refuses every available key.*lost does not exist"):
        log_in()


@pytest.mark.parametrize(
    "setting", ["{agent}", "SSH_AUTH_SOCK", "$SSH_AUTH_SOCK", "$MINE", "${{MINE}}"]
)
def test_the_agent_of_the_configuration(
    setting: str,
    agent: Path,
    home: Path,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (home / ".ssh/id_ed25519").unlink()
    monkeypatch.setenv("MINE", str(agent))
    if "SOCK" not in setting:
        monkeypatch.delenv("SSH_AUTH_SOCK")
    configure(f"{board}  IdentityAgent {setting.format(agent=agent)}\n")
    log_in()


def test_no_agent(
    agent: Path,
    home: Path,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    (home / ".ssh/id_ed25519").unlink()
    configure(f"{board}  IdentityAgent none\n")
    with pytest.raises(DeviceError, match="refuses every available key"):
        log_in()


KNOWN = [
    ("UserKnownHostsFile ~/hosts", "hosts"),
    ("UserKnownHostsFile ~/none ~/hosts", "hosts"),
    ('UserKnownHostsFile "~/my hosts"', "my hosts"),
    ("UserKnownHostsFile %d/hosts-%n-%k-%p", "hosts-board-board-{port}"),
    ("UserKnownHostsFile ${HOME}/hosts", "hosts"),
    ("UserKnownHostsFile none\n  GlobalKnownHostsFile ~/hosts", "hosts"),
    ("GlobalKnownHostsFile /dev/null ~/hosts", "hosts"),
    ("HostKeyAlias pi\n  UserKnownHostsFile ~/hosts", "hosts"),
    ("", ".ssh/known_hosts2"),
]


@pytest.mark.parametrize(("setting", "name"), KNOWN)
def test_known_hosts_in_other_files(
    setting: str,
    name: str,
    friends: Server,
    home: Path,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    line = (home / ".ssh/known_hosts").read_text()
    if "Alias" in setting:
        line = f"pi {friends.host_key}"
    (home / ".ssh/known_hosts").unlink()
    configure(f"{board}  {setting}\n")
    with pytest.raises(DeviceError, match=r"the host key of ssh://board.* is unknown"):
        log_in()
    (home / name.format(port=friends.port)).write_text(
        f"damaged\n\udcff\n@odd a b c\n{HOST} ssh-ed25519 AAAA\n{line}\n", errors="surrogateescape"
    )
    log_in()


@pytest.mark.parametrize("check", ["no", "accept-new", "off"])
@pytest.mark.parametrize("file", ["none", "/dev/null"])
def test_no_setting_accepts_an_unknown_host(
    file: str,
    check: str,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    configure(f"{board}  UserKnownHostsFile {file}\n  StrictHostKeyChecking {check}\n")
    with pytest.raises(DeviceError, match=r"the host key of ssh://board.* is unknown"):
        log_in()


JUMPS = ["hop", "hop,hop2", "hop2,hop", "{user}@{host}:{port}", "ssh://{user}@{host}:{port}"]


@pytest.mark.parametrize("server", ["sshd"], indirect=True)  # asyncssh's does not forward here
@pytest.mark.parametrize("jumps", JUMPS)
def test_a_host_behind_others(
    jumps: str,
    friends: Server,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    place = f"  HostName {HOST}\n  Port {friends.port}\n  IdentityFile ~/.ssh/lost\n"
    key = "Host hop hop2\n  IdentityFile ~/.ssh/id_ed25519\n"
    jumps = jumps.format(user=getpass.getuser(), host=HOST, port=friends.port)
    configure(f"{board}  ProxyJump {jumps}\nHost hop\n{place}Host hop2\n{place}{key}")
    log_in()


def test_the_key_of_a_host_on_the_way_is_checked_too(
    friends: Server,
    home: Path,
    board: str,
    configure: Callable[[str], None],
    log_in: Callable[..., None],
) -> None:
    hop = f"Host hop\n  HostName {HOST}\n  Port {friends.port}\n  UserKnownHostsFile none\n"
    configure(f"{board}  ProxyJump hop\n{hop}")
    with pytest.raises(DeviceError, match=r"the host key of ssh://hop is unknown"):
        log_in()


def test_hosts_in_a_circle(configure: Callable[[str], None], home: Path) -> None:
    configure(f"Host *\n  HostName {HOST}\n  ProxyJump hop\n")
    with pytest.raises(DeviceError, match="more than 8 hosts, perhaps in a circle: check"):
        open_device("ssh://board")


def test_a_malformed_host_on_the_way(configure: Callable[[str], None], home: Path) -> None:
    configure("Host board\n  ProxyJump a:b:c\n")
    with pytest.raises(ConfigError, match="'ssh://a:b:c' is not the address of a device"):
        open_device("ssh://board")


@pytest.mark.parametrize("setting", ["RevokedHostKeys ~/revoked", "BindInterface eth7"])
def test_what_must_not_be_ignored_is_refused(
    setting: str, board: str, configure: Callable[[str], None], log_in: Callable[..., None]
) -> None:
    configure(f"Host other\n  {setting}\n{board}")
    log_in()
    configure(f"{board}  {setting}\n")
    with pytest.raises(DeviceError, match=rf"{setting.split()[0]}, which the .* not supported"):
        log_in()


def test_what_is_not_supported_is_named_if_the_login_fails(
    home: Path, board: str, configure: Callable[[str], None], log_in: Callable[..., None]
) -> None:
    configure(f"{board}  KnownHostsCommand /bin/echo\n  VerifyHostKeyDNS no\n")
    log_in()
    (home / ".ssh/known_hosts").unlink()
    with pytest.raises(DeviceError) as caught:
        log_in()
    assert "KnownHostsCommand of the SSH configuration is not supported" in str(caught.value)
    assert "VerifyHostKeyDNS" not in str(caught.value)


def test_the_configuration_of_the_machine_comes_second(
    home: Path, tmp_path: Path, configure: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_config, "_SYSTEM_FOLDER", tmp_path)
    (tmp_path / "ssh_config.d").mkdir()
    (tmp_path / "ssh_config.d/a.conf").write_text("User second\nConnectTimeout 7\n")
    (tmp_path / "ssh_config").write_text("Include ssh_config.d/*.conf\n")
    configure("User first\n")
    arguments = read_ssh_config(parse_address("ssh://board")).arguments
    assert arguments["options"].config.get("User") == "first"
    assert arguments["connect_timeout"] == 7


@pytest.mark.skipif(shutil.which("ssh") is None, reason="apt-get install openssh-client")
@pytest.mark.parametrize("text", SPELLINGS[:5])
def test_the_settings_are_those_of_ssh(
    text: str, home: Path, configure: Callable[[str], None]
) -> None:
    configure(text.format(host=HOST, port=2222))
    config = read_ssh_config(parse_address("ssh://board")).arguments["options"].config
    command = ["ssh", "-G", "-F", str(home / ".ssh/config"), "board"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    expected = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert expected["hostname"] == config.get("Hostname", "board")
    assert expected["port"] == str(config.get("Port", 22))
    assert expected.get("connecttimeout", "none") in ("none", str(config.get("ConnectTimeout")))
