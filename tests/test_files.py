"""A file is written whole or not at all, and only regular files are read or replaced."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from albert_edge import files
from albert_edge.errors import OutputError
from albert_edge.files import check_writable, dump_json, read_input, write_file


@pytest.fixture
def full_disk() -> Iterator[int]:
    """Let no file grow above a size, in bytes: the write itself then fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_writes(tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.tflite", b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o044  # others may read it, as the umask allows


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"model\.tflite exists; give --force"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert write_file(path, b"new", force=True).read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, full_disk: int) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*model\.tflite: File too large"):
        write_file(tmp_path / "model.tflite", bytes(full_disk + 1))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, full_disk: int) -> None:
    path = write_file(tmp_path / "model.tflite", b"old")
    with pytest.raises(OutputError, match="cannot write"):
        write_file(path, bytes(full_disk + 1), force=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "is a directory; name a file inside it"),
        ("missing/model.tflite", "missing does not exist; create it first"),
        ("file/model.tflite", "file does not exist"),
        ("a" * 300, "cannot write .*: File name too long"),
    ],
)
def test_paths_that_cannot_be_written(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=message):
        write_file(tmp_path / path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_takes_no_files() -> None:
    # /proc refuses files even from root.
    with pytest.raises(OutputError, match="cannot"):
        write_file("/proc/model.tflite", b"new")


def test_checking_writes_nothing(tmp_path: Path) -> None:
    assert check_writable(tmp_path / "model.tflite") == tmp_path / "model.tflite"
    assert list(tmp_path.iterdir()) == []


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


def kill_while_writing(path: Path) -> None:
    """Write `path` in a process that kills itself with SIGKILL before the rename."""
    code = (
        "import os, sys; from albert_edge import files\n"
        "files._sync = lambda handle: os.kill(os.getpid(), 9)\n"
        "files.write_file(sys.argv[1], b'never', force=True)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -signal.SIGKILL


# 247 bytes in 87 characters: with what a temporary name adds, more than the 255 bytes of a name.
LONG_NAME = "模" * 80 + ".tflite"


@pytest.mark.parametrize("name", ["model.tflite", LONG_NAME])
def test_the_next_write_removes_what_a_killed_one_left(tmp_path: Path, name: str) -> None:
    path, other = tmp_path / name, tmp_path / f"other_{name[-7:]}"
    kill_while_writing(path)
    kill_while_writing(other)
    kill_while_writing(path)  # removes the first leftover, and leaves its own
    assert len(leftovers(tmp_path)) == 2
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert len(leftovers(tmp_path)) == 1  # the other name's
    write_file(other, b"new")
    assert leftovers(tmp_path) == []


def test_files_that_only_look_like_leftovers_stay(tmp_path: Path) -> None:
    names = [".m.settings", ".m.01234567", ".m.0123456g.partial", ".xm.01234567.partial", ".m"]
    for name in names:
        (tmp_path / name).touch()
    write_file(tmp_path / "m", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "m"])


def test_a_file_that_is_being_written_is_not_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_another(handle: int) -> None:
        monkeypatch.undo()
        write_file(tmp_path / "model.tflite", b"the other's")

    monkeypatch.setattr(files, "_sync", write_another)
    write_file(tmp_path / "model.tflite", b"new", force=True)
    assert (tmp_path / "model.tflite").read_bytes() == b"new"


def test_of_many_writers_of_a_new_file_one_is_not_refused(tmp_path: Path) -> None:
    path, start = tmp_path / "model.tflite", threading.Barrier(8)

    def write(number: int) -> str:
        start.wait()
        try:
            write_file(path, bytes([number]) * 100_000)
        except OutputError as error:
            return str(error)
        return "wrote"

    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            wrote = list(pool.map(write, range(8)))
        assert sorted(wrote) == [f"{path} exists; give --force to replace it."] * 7 + ["wrote"]
        assert path.read_bytes() == bytes([wrote.index("wrote")]) * 100_000
        assert list(tmp_path.iterdir()) == [path]
        path.unlink()


def refusing(code: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_mount_without_links_permissions_or_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # As SMB, exFAT and S3 mounts answer.
    monkeypatch.setattr(os, "link", refusing(code))
    monkeypatch.setattr(os, "fchmod", refusing(code))
    monkeypatch.setattr(os, "fchown", refusing(code))
    monkeypatch.setattr(os, "fsync", refusing(errno.EINVAL))
    monkeypatch.setattr("fcntl.flock", refusing(code))
    path = write_file(tmp_path / "model.tflite", b"old")
    with pytest.raises(OutputError, match="exists"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert write_file(path, b"new", force=True).read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_sync_that_loses_data_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(code))
    with pytest.raises(OutputError, match=f"cannot write .*: {os.strerror(code)}"):
        write_file(tmp_path / "model.tflite", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = write_file(tmp_path / "model.tflite", b"old")
    path.chmod(mode)
    write_file(path, b"new", force=True)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.tflite", b"old")
    os.chown(path, 12345, 54321)
    status = write_file(path, b"new", force=True).stat()
    assert (status.st_uid, status.st_gid) == (12345, 54321)


def test_of_a_link_the_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "model.tflite", tmp_path / "link"
    link.symlink_to("folder/model.tflite")
    write_file(link, b"new")
    assert target.read_bytes() == b"new"
    with pytest.raises(OutputError, match="link exists"):
        write_file(link, b"newer")
    write_file(link, b"newer", force=True)
    assert link.is_symlink()
    assert target.read_bytes() == b"newer"
    assert list(target.parent.iterdir()) == [target]
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(OutputError, match=r"cannot write .*link: "):
        write_file(link, b"new", force=True)


def make_special(kind: str, folder: Path) -> Path:
    path = folder / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.chdir(folder)  # its path may have 108 bytes
        socket.socket(socket.AF_UNIX).bind(kind)
    elif kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    return Path("/dev/zero") if kind == "device" else path


SPECIAL = {
    "pipe": "a pipe",
    "socket": "a socket",
    "device": "a device",
    "link": "a device",
    "directory": "a directory",
}


@pytest.mark.filterwarnings("ignore:unclosed.*socket:ResourceWarning")
@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("force", [True, False])
def test_special_files_are_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, force: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make_special(kind, tmp_path)
    before = path.lstat()
    with pytest.raises(OutputError, match=f"is {SPECIAL[kind]}; name a "):
        write_file(path, b"new", force=force)
    assert path.lstat().st_ino == before.st_ino
    assert path.lstat().st_mode == before.st_mode


@pytest.mark.filterwarnings("ignore:unclosed.*socket:ResourceWarning")
@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_are_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make_special(kind, tmp_path)
    with pytest.raises(OSError, match=f"it is {SPECIAL[kind]}, not|Is a directory") as caught:
        read_input(path)
    assert caught.value.strerror
    assert caught.value.filename == str(path)


def test_a_bound_on_what_is_read(tmp_path: Path) -> None:
    path = write_file(tmp_path / "file", b"12345")
    assert read_input(path, max_bytes=5) == b"12345"
    with pytest.raises(OSError, match="it has over 4 bytes"):
        read_input(path, max_bytes=4)
    # A file of /proc has the size 0, and content.
    assert len(read_input("/proc/self/status")) > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_numbers_that_are_not_finite(value: float) -> None:
    with pytest.raises(OutputError, match="NaN or infinite"):
        dump_json({"scores": [0.5, value]})


def test_nothing_is_read_or_written_past_files() -> None:
    """Every input file is opened by `open_input`, and every JSON document made by `dump_json`.

    Checkpoints' files are exempt: `safe_path` lets only regular files through.  So are the files of
    /proc and /sys, and what runs on a device without this package.
    """
    package = Path(files.__file__).parent
    exempt = ("files.py", "checkpoints/", "benchmark/system.py", "benchmark/memory_energy.py",
              "runtime/", "benchmark/devices/", "benchmark/worker.py",
          )  # fmt: skip
    reads = re.compile(r"\.open\(\"|\.read_bytes\(|\.read_text\(|(?<![\w.])open\(|json\.dumps?\(")
    own = re.compile(
        r"resources\.files|/proc/cpuinfo|allow_nan=False|a descriptor|def open|# of the package"
    )
    found = []
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        found += [
            f"{name}:{number}: {line.strip()}"
            for number, line in lines
            if reads.search(line) and not name.startswith(exempt) and not own.search(line)
        ]
    assert found == []
