"""The settings of OpenSSH for one host, from `~/.ssh/config` and `/etc/ssh/ssh_config`.

asyncssh parses the files.  Where it differs from OpenSSH, `read_ssh_config` does as OpenSSH: a key
file may be missing, several files may list known hosts, and comments may follow a setting.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.config import SSHClientConfig

from albert_edge.benchmark.devices.ssh_address import SshAddress, parse_address
from albert_edge.errors import DeviceError

_SYSTEM_FOLDER = Path("/etc/ssh")
_CONNECT_S = 20
# Settings of OpenSSH that decide whether it logs in, and that asyncssh does not support.
_UNSUPPORTED = (
    *("BindInterface", "KnownHostsCommand", "NoHostAuthenticationForLocalhost"),
    *("ProxyUseFdpass", "PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes", "RevokedHostKeys"),
    *("SecurityKeyProvider", "VerifyHostKeyDNS"),
)
# Those of them without which a host would be trusted, or reached, that OpenSSH refuses or does not.
_REFUSED = ("BindInterface", "RevokedHostKeys")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_READ_ERRORS = (OSError, ValueError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError)


class _Keys(list[str]):
    """Key files to use; unlike an empty list, which asyncssh takes for its default, also none."""

    def __bool__(self) -> bool:
        return True


def _as_openssh(handler: Callable[..., None]) -> Callable[..., None]:
    """Take comments and units of time off the values of a setting."""

    def handle(config: Any, option: str, args: list[str]) -> None:
        comment = next((index for index, one in enumerate(args) if one[:1] == "#"), len(args))
        del args[comment:]
        if option in ("ConnectTimeout", "ServerAliveInterval") and args:
            parts = re.findall(r"(\d+)([smhdw]?)", args[0].lower())
            if "".join(map("".join, parts)) == args[0].lower():
                args[0] = str(sum(int(number) * _SECONDS[unit] for number, unit in parts))
        handler(config, option, args)

    return handle


# What reads each setting, by its name in lower case.
_HANDLERS = {
    name: (option, handler if name in SSHClientConfig._no_split else _as_openssh(handler))
    for name, (option, handler) in SSHClientConfig._handlers.items()
} | {name.lower(): (name, _as_openssh(SSHClientConfig._set_string_list)) for name in _UNSUPPORTED}


class _Config(SSHClientConfig):
    _percent_expand = SSHClientConfig._percent_expand | {"UserKnownHostsFile"}
    _handlers = _HANDLERS

    def parse(self, path: Path) -> None:
        if path.parent == _SYSTEM_FOLDER:
            self._default_path = _SYSTEM_FOLDER  # of relative paths in Include
        super().parse(path)

    def get_options(self, reload: bool) -> dict[str, object]:
        # After it has found a canonical name, asyncssh would read the files again.
        return super().get_options(reload=False)

    def _set_tokens(self) -> None:
        super()._set_tokens()
        self._tokens["k"] = str(self._options.get("HostKeyAlias") or self._orig_host)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshConfig:
    """The settings for one host.

    Attributes:
        arguments: Arguments of `asyncssh.connect` that contain all settings.
        known_hosts: The keys of known hosts.
        jumps: The hosts of ProxyJump, in their order.
        notes: Key files that cannot be used, and settings that are not supported.
    """

    arguments: dict[str, Any]
    known_hosts: asyncssh.SSHKnownHosts
    jumps: tuple[SshAddress, ...]
    notes: tuple[str, ...]


def read_ssh_config(address: SshAddress) -> SshConfig:
    """Read the settings for an address.

    Raises:
        ConfigError: A host of ProxyJump is malformed.
        DeviceError: They contain one that is not supported and must not be ignored.
        OSError: A file cannot be read.
        ValueError: A file is malformed.
    """
    config = _parse(address)
    unsupported = [name for name in _UNSUPPORTED if config.get(name) not in (None, ["no"], [])]
    if refused := [name for name in unsupported if name in _REFUSED]:
        raise DeviceError(
            f"{address.text}: {refused[0]}, which the SSH configuration sets for it, is not "
            "supported; remove it for this host. Revoked keys can be listed in known_hosts, with "
            "@revoked in front."
        )
    notes = [f"{name} of the SSH configuration is not supported" for name in unsupported]
    options = asyncssh.SSHClientConnectionOptions(config=[], client_keys=None, known_hosts=None)
    options.config = config
    jumps, proxy = _proxies(config)
    arguments = {
        "options": options,
        "connect_timeout": config.get("ConnectTimeout") or _CONNECT_S,
        "agent_path": _agent_path(config),
        **_keys(config, notes),
        **proxy,
    }
    return SshConfig(
        arguments=arguments,
        known_hosts=asyncssh.import_known_hosts("\n".join(_known_lines(config))),
        jumps=jumps,
        notes=tuple(notes),
    )


def _parse(address: SshAddress) -> SSHClientConfig:
    files = [Path("~/.ssh/config").expanduser(), _SYSTEM_FOLDER / "ssh_config"]
    files = [path for path in files if os.access(path, os.R_OK)]
    host = getpass.getuser(), address.user or (), address.host, address.port or ()
    config = _Config.load(None, files, False, False, False, *host)
    if config.has_match_final():
        # What the first pass has set stays, as the name that Match compares.
        config = _Config.load(config, files, False, False, True, *host)
    config.loaded = True  # also without files: asyncssh reads none of its own
    assert isinstance(config, SSHClientConfig)  # noqa: S101 (the type that `load` declares is wider)
    return config


def _known_lines(config: SSHClientConfig) -> Iterator[str]:
    """Yield the valid lines of the files of known hosts; OpenSSH ignores all others too."""
    default = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
    everywhere = [f"{_SYSTEM_FOLDER}/ssh_known_hosts", f"{_SYSTEM_FOLDER}/ssh_known_hosts2"]
    users, all_users = (
        config.get(name, names)
        for name, names in (("UserKnownHostsFile", default), ("GlobalKnownHostsFile", everywhere))
    )
    for path in [*users, *all_users]:  # type: ignore[misc]
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            try:
                asyncssh.import_known_hosts(line)
            except _READ_ERRORS:
                continue
            yield line


def _agent_path(config: SSHClientConfig) -> str:
    path = config.get("IdentityAgent", "SSH_AUTH_SOCK")
    if path is None:
        return ""
    path = "$SSH_AUTH_SOCK" if path == "SSH_AUTH_SOCK" else str(path)
    return os.environ.get(path[1:], "") if path.startswith("$") else path


def _keys(config: SSHClientConfig, notes: list[str]) -> dict[str, Any]:
    """Return the arguments about keys; note the files that cannot be used."""
    certificates = [path for path in _paths(config, "CertificateFile") if Path(path).is_file()]
    # The default files, of which asyncssh ignores missing ones.
    arguments: dict[str, Any] = {"client_keys": (), "client_certs": certificates}
    if config.get("IdentityFile") is None:
        return arguments
    files = _paths(config, "IdentityFile")
    arguments["ignore_encrypted"] = True
    arguments["client_keys"] = _Keys(path for path in files if _is_private_key(path, notes))
    if config.get("IdentitiesOnly"):
        # An agent's key is used if a file contains it, or its public part.
        found = [data for path in files for data in _public_data(path)]
        arguments["agent_identities"] = found or [b""]  # an empty list would allow all of them
    return arguments


def _paths(config: SSHClientConfig, name: str) -> list[str]:
    paths: Any = config.get(name) or []
    return list(dict.fromkeys(str(Path(path).expanduser()) for path in paths))


def _is_private_key(path: str, notes: list[str]) -> bool:
    try:
        if not Path(path).is_file() or asyncssh.load_keypairs([path]):
            usable = Path(path).is_file()
            notes += [] if usable else [f"{path} does not exist"]
            return usable
    except asyncssh.KeyEncryptionError:
        notes.append(f"{path} needs a passphrase")
    except _READ_ERRORS as error:
        if not _public_data(path):
            notes.append(f"{path} cannot be used ({error})")
    return False


def _public_data(path: str) -> list[bytes]:
    found = []
    for name in (path, f"{path}.pub", f"{path}-cert.pub"):
        for read in (asyncssh.read_public_key, asyncssh.read_certificate):
            try:
                found.append(read(name).public_data)
            except _READ_ERRORS:
                continue
    return found


def _proxies(config: SSHClientConfig) -> tuple[tuple[SshAddress, ...], dict[str, Any]]:
    """Return the jumps, and the arguments that keep asyncssh from reading them itself."""
    names = [name for name in config.get_options(False) if name in ("ProxyJump", "ProxyCommand")]
    if names[:1] != ["ProxyJump"]:  # the first of both counts
        return (), {"tunnel": None}
    jumps = str(config.get("ProxyJump") or "")
    hosts = [one if "://" in one else f"ssh://{one}" for one in jumps.split(",") if one]
    return tuple(map(parse_address, hosts)), {"tunnel": None, "proxy_command": None}
