"""A file is written whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from albert_edge.errors import OutputError
from albert_edge.files import check_writable, write_file


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
