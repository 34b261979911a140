"""The agent on a device: it stores files, and ends its worker."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albert_edge
from albert_edge.benchmark.devices import remote_agent
from albert_edge.benchmark.devices.remote_agent import RemoteAgent, worker_command


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_worker_whose_parent_has_ended_before_it_does_nothing() -> None:
    folder = str(Path(albert_edge.__file__).parent.parent)
    command = worker_command(sys.executable, folder)
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(
        command, input='{"do": "describe"}', capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the process that started this worker has ended" in done.stderr


def test_the_worker_s_command_names_its_parent_and_its_package() -> None:
    command = worker_command("python9", "/there", "/more")
    assert (command[0], command[1]) == ("python9", "-c")
    assert command[3:] == [str(os.getpid()), "/there", "/more"]


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], io.BytesIO]:
    """A function that puts bytes on standard input and returns the stream."""

    def put(content: bytes) -> io.BytesIO:
        stream = io.BytesIO(content)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        return stream

    return put


@given(st.binary(max_size=300))
def test_a_file_is_stored_and_what_follows_is_left(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        stream = io.BytesIO(content + b"{}\n")
        patch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        reply = RemoteAgent(Path(folder)).put("one", len(content))
        assert Path(reply["path"]).read_bytes() == content
        assert reply["sha256"] == hashlib.sha256(content).hexdigest()
        assert stream.read() == b"{}\n"


def test_a_file_that_cannot_be_stored_is_read_to_its_end(
    tmp_path: Path, type_in: Callable[[bytes], io.BytesIO]
) -> None:
    stream = type_in(b"x" * 100 + b"{}\n")
    with pytest.raises(FileNotFoundError):
        RemoteAgent(tmp_path / "none").put("one", 100)
    assert stream.read() == b"{}\n"


def test_a_file_whose_end_never_comes(
    tmp_path: Path, type_in: Callable[[bytes], io.BytesIO]
) -> None:
    type_in(b"x" * 99)
    with pytest.raises(EOFError):
        RemoteAgent(tmp_path).put("one", 100)


def test_a_package_is_unpacked_and_compiled(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one/two.py", "THREE = 3\n")
    assert RemoteAgent(tmp_path).unpack("a.zip") == {}
    assert not (tmp_path / "a.zip").exists()
    assert (tmp_path / "package/one/two.py").read_text() == "THREE = 3\n"
    assert list((tmp_path / "package/one/__pycache__").glob("two.*.pyc"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("bad.py", "THREE = = 3\n")
    with pytest.raises(OSError, match="the package cannot be compiled"):
        RemoteAgent(tmp_path).unpack("b.zip")


def test_requests_are_answered_until_there_are_no_more(tmp_path: Path) -> None:
    requests = [
        b'{"do": "put", "name": "one", "size": 3}',
        b"abc" + b'{"do": "unpack", "name": "no"}',
    ]
    done = subprocess.run(
        [sys.executable, remote_agent.__file__],
        input=b"\n".join(requests) + b"\n",
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    replies, left = [], done.stdout
    while left:
        header, _, left = left.removeprefix(b"\n").partition(b"\n")
        size = int(header.removeprefix(b"albert_edge "))
        replies.append(json.loads(left[:size]))
        left = left[size:]
    greeting, put, failed = replies
    assert Path(greeting["folder"]).parent == tmp_path
    assert put == {
        "path": f"{greeting['folder']}/one",
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }
    assert failed["error"] == "No such file or directory"
    assert failed["free_bytes"] > 0
    assert list(tmp_path.iterdir()) == []  # the folder goes with the agent
