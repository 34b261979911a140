"""The address of a device that is reached over SSH."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from albert_edge.errors import ConfigError

__all__ = ["SshAddress", "parse_address"]

_FORM = "ssh://[USER@]HOST[:PORT][?python=PATH]"
_PATTERN = re.compile(
    # Neither may begin with "-": it would be an option in the commands that messages suggest.
    r"ssh://(?:(?P<user>[^-\s\0@:/?#][^\s\0@:/?#]*)@)?"
    r"(?:\[(?P<number>[0-9a-fA-F:.]+(?:%\w+)?)\]|(?P<name>[^-\s\0@:/?#\[\]][^\s\0@:/?#\[\]]*))"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
    r"(?:\?python=(?:~/)?(?P<python>[^\0\n]+))?"
)
_PASSWORD = re.compile(r"ssh://[^@/?#]*:[^@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAddress:
    """Where a device is, and which Python to use there.

    Attributes:
        text: The address as it was given.
        host: A name, a number, or a `Host` of `~/.ssh/config`.
        user: Whom to log in as; None for what `~/.ssh/config` says, or the user's own name.
        port: The port; None for what `~/.ssh/config` says, or 22.
        python: The Python to use, seen from the home directory; None to look for one.
    """

    text: str
    host: str
    user: str | None = None
    port: int | None = None
    python: str | None = None

    @property
    def login(self) -> str:
        """The command that logs in there, to which a command may be added.

        Example:
            >>> parse_address("ssh://pi@raspberrypi.local:2222").login
            'ssh -p 2222 pi@raspberrypi.local'
        """
        port = [] if self.port is None else ["-p", str(self.port)]
        target = self.host if self.user is None else f"{self.user}@{self.host}"
        return shlex.join(["ssh", *port, target])


def parse_address(text: str) -> SshAddress:
    """Read an address such as `ssh://pi@raspberrypi.local:22?python=~/venv/bin/python`.

    Raises:
        ConfigError: It is of another form, or has a password in it.
    """
    if _PASSWORD.match(text):  # do not repeat it
        raise ConfigError(
            "an address is kept in reports, so it must not have a password in it; bring a key to "
            f"the device with ssh-copy-id, and write {_FORM}."
        )
    match = _PATTERN.fullmatch(text)
    port = match and match["port"] and int(match["port"])
    if match is None or port == 0 or (port or 1) > 65535:
        raise ConfigError(
            f"{text!r} is no address of a device; write {_FORM}, such as "
            "ssh://pi@raspberrypi.local:22?python=~/venv/bin/python."
        )
    host = match["number"] or match["name"]
    return SshAddress(
        text=text, host=host, user=match["user"], port=port or None, python=match["python"]
    )
