"""What the tests of SSH share: options, waiting, and both servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Addresses = Callable[..., str]

# Other tests take OpenSSH's where it is installed.
EITHER_SERVER = pytest.mark.parametrize("server", ["sshd", "asyncssh"], indirect=True)

# It does not end on its own.
ENDLESS: dict[str, Any] = {"seq_len": 8, "min_time_s": 999.0}


def await_true(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def await_clean(folder_there: Path) -> None:
    await_true(lambda: not list(folder_there.iterdir()), "something is left on the device")
