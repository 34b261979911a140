"""`albert_edge.benchmark.devices.ssh_address`: valid and invalid addresses."""

from __future__ import annotations

import doctest

import pytest

from albert_edge import errors
from albert_edge.benchmark.devices import ssh_address
from albert_edge.benchmark.devices.ssh_address import parse_address
from albert_edge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "user", "host", "port", "python", "login"),
    [
        ("ssh://board", None, "board", None, None, "ssh board"),
        ("ssh://MyPi/", None, "MyPi", None, None, "ssh MyPi"),
        ("ssh://pi@10.0.0.7:22", "pi", "10.0.0.7", 22, None, "ssh -p 22 pi@10.0.0.7"),
        ("ssh://pi@[fe80::1%eth0]:1", "pi", "fe80::1%eth0", 1, None, "ssh -p 1 pi@fe80::1%eth0"),
        ("ssh://a;b@c'd", "a;b", "c'd", None, None, """ssh 'a;b@c'"'"'d'"""),
        ("ssh://b?python=~/v/bin/python", None, "b", None, "v/bin/python", "ssh b"),
        ("ssh://b/?python=/opt/c++/a&b", None, "b", None, "/opt/c++/a&b", "ssh b"),
    ],
)
def test_an_address_is_parsed(
    text: str,
    user: str | None,
    host: str,
    port: int | None,
    python: str | None,
    login: str,
) -> None:
    read = parse_address(text)
    assert (read.user, read.host, read.port, read.python) == (user, host, port, python)
    assert (read.text, read.login) == (text, login)


@pytest.mark.parametrize(
    "rest",
    [
        *(
            "",
            "@host",
            "pi@",
            "a@b@c",
            "-l@host",
            "-oProxyCommand=x",
            "a b",
            "a\0b",
            "host\n",
            "::1",
        ),
        *("host:", "host:0", "host:65536", "host:ssh", "host:-1", "[host]", "host/tmp", "host#x"),
        *("host?", "host?python", "host?python=", "host?python=a\n", "host?user=pi"),
    ],
)
def test_an_invalid_address_is_an_error(rest: str) -> None:
    with pytest.raises(
        ConfigError, match=r"is not the address of a device; write ssh://\[USER@\]HOST"
    ):
        parse_address(f"ssh://{rest}")


@pytest.mark.parametrize("rest", ["pi:raspberry@host", ":raspberry@host", "pi:raspberry/@host:22"])
def test_a_password_is_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(ConfigError, match="must not contain a password") as caught:
        parse_address(f"ssh://{rest}")
    assert "raspberry" not in str(caught.value)


@pytest.mark.parametrize("module", [ssh_address, errors])
def test_examples(module: object) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0
