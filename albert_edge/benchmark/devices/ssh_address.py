"""Parse the address of a device that is reached over SSH.

It works without asyncssh, so that a malformed address is reported before a missing package.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from albert_edge.errors import ConfigError

_FORM = "ssh://[USER@]HOST[:PORT][?python=PATH]"
_PATTERN = re.compile(
    # User and host must not begin with "-": the commands in error messages would take an option.
    r"ssh://(?:(?P<user>[^-\s\0@:/?#][^\s\0@:/?#]*)@)?"
    r"(?:\[(?P<number>[0-9a-fA-F:.]+(?:%\w+)?)\]|(?P<name>[^-\s\0@:/?#\[\]][^\s\0@:/?#\[\]]*))"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
    r"(?:\?python=(?:~/)?(?P<python>[^\0\n]+))?"
)
_PASSWORD = re.compile(r"ssh://[^@/?#]*:[^@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAddress:
    """The address of a device, and the Python to use there.

    Attributes:
        text: The address as the user gave it.
        host: A host name, an IP address, or a `Host` of `~/.ssh/config`.
        user: The login name; None for that of `~/.ssh/config`, or the local one.
        port: The port; None for that of `~/.ssh/config`, or 22.
        python: The Python to use, relative to the home directory; None to search for one.
    """

    text: str
    host: str
    user: str | None = None
    port: int | None = None
    python: str | None = None

    @property
    def login(self) -> str:
        """The `ssh` command that logs in; a remote command may be appended.

        Example:
            >>> parse_address("ssh://pi@raspberrypi.local:2222").login
            'ssh -p 2222 pi@raspberrypi.local'
        """
        port = [] if self.port is None else ["-p", str(self.port)]
        target = self.host if self.user is None else f"{self.user}@{self.host}"
        return shlex.join(["ssh", *port, target])


def parse_address(text: str) -> SshAddress:
    """Parse an address such as `ssh://pi@raspberrypi.local:22?python=~/venv/bin/python`.

    Raises:
        ConfigError: It is malformed, or contains a password.
    """
    if _PASSWORD.match(text):  # which the message must not repeat
        raise ConfigError(
            "an address is stored in reports, so it must not contain a password; copy a key to the "
            f"device with ssh-copy-id, and write {_FORM}."
        )
    match = _PATTERN.fullmatch(text)
    port = match and match["port"] and int(match["port"])
    if match is None or port == 0 or (port or 1) > 65535:
        raise ConfigError(
            f"{text!r} is not the address of a device; write {_FORM}, such as "
            "ssh://pi@raspberrypi.local:22?python=~/venv/bin/python."
        )
    host = match["number"] or match["name"]
    return SshAddress(
        text=text, host=host, user=match["user"], port=port or None, python=match["python"]
    )
