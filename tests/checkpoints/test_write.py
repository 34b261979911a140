"""A checkpoint is written as a whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from albert_edge import files
from albert_edge.checkpoints import (
    Checkpoint,
    check_folder,
    read_checkpoint,
    write,
    write_checkpoint,
)
from albert_edge.errors import CheckpointError, OutputError
from checkpoints.files import PARITY

KEPT = Path(__file__).parents[1] / "data" / "written_by_0_1" / "checkpoints"


@pytest.fixture(scope="module")
def old() -> Checkpoint:
    return read_checkpoint(KEPT / "huggingface")


@pytest.fixture(scope="module")
def new(old: Checkpoint) -> Checkpoint:
    """Another model: the same tensors with other values, and another configuration."""
    tensors = {name: values + 1 for name, values in old.tensors.items()}
    return replace(old, tensors=tensors, config=replace(old.config, initializer_range=0.5))


def content(folder: Path) -> dict[str, bytes]:
    """Return the files, without the hidden ones that a killed process leaves."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name[0] != "."
    }


def calls_of(work: Callable[[], None], kill_at: int = 0) -> int:
    """Run `work` in a forked process, killed at its n-th call of the system; return how many."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        count = 0

        def counted(call: Callable[..., object]) -> Callable[..., object]:
            def run(*args: object, **more: object) -> object:
                nonlocal count
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **more)

            return run

        for name in ("fsync", "rename", "replace", "link", "unlink", "rmdir", "mkdir", "chmod"):
            setattr(os, name, counted(getattr(os, name)))
        files._exchange = counted(files._exchange)  # type: ignore[assignment]
        try:
            work()
            os.write(writer, str(count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return int(pipe.read() or 0)


@pytest.mark.parametrize(
    ("to", "exchange"),
    [("huggingface", True), ("huggingface", False), ("tensorflow1", True), ("keras", True)],
)
def test_a_killed_write_leaves_the_old_or_the_new_whole(
    to: str,
    exchange: bool,
    old: Checkpoint,
    new: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not exchange:  # as on a system without renameat2
        monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: None)
    write_checkpoint(tmp_path / "old", old, to=to)
    write_checkpoint(tmp_path / "new", new, to=to)
    wanted = [content(tmp_path / name) for name in ("old", "new")]
    # TensorFlow, which makes Google's files, may not be used after a fork.
    made = {id(one): write._WRITERS[to](one) for one in (old, new)}
    monkeypatch.setitem(write._WRITERS, to, lambda one: made[id(one)])
    folder = tmp_path / "model"

    def work() -> None:
        write_checkpoint(folder, new, to=to, force=True)

    def begin() -> None:
        write_checkpoint(folder, old, to=to, force=True)
        (folder / "notes").mkdir(exist_ok=True)
        (folder / "notes" / "mine.txt").write_text("kept")

    begin()
    calls, seen = calls_of(work), set()
    assert calls > 10
    for at in range(1, calls + 1, 1 if to == "huggingface" else 4):
        begin()
        calls_of(work, kill_at=at)
        files.recover_folder(folder)  # which every reading and writing begins with
        found = content(folder)
        assert found in wanted, at
        seen.add(wanted.index(found))
        assert (folder / "notes" / "mine.txt").read_text() == "kept"
    assert seen == {0, 1}
    begin()
    assert {path.name for path in tmp_path.iterdir()} == {"old", "new", "model"}


def test_a_folder_that_was_renamed_aside_is_read(old: Checkpoint, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", old)
    (tmp_path / "model").rename(tmp_path / ".model.old")
    assert read_checkpoint(tmp_path / "model").config == old.config
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_cannot_be_exchanged_is_never_a_mixture(
    old: Checkpoint, new: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(16, "Device or resource busy")  # a mount point

    monkeypatch.setattr(files, "_exchange", refuse)
    folder = tmp_path / "model"
    write_checkpoint(tmp_path / "new", new)

    def begin() -> None:
        folder.mkdir(exist_ok=True)
        for name, values in content(KEPT / "huggingface").items():
            (folder / name).write_bytes(values)

    def work() -> None:
        write_checkpoint(folder, new, force=True)

    begin()
    for at in range(1, calls_of(work) + 1):
        begin()
        calls_of(work, kill_at=at)
        if (folder / "config.json").exists():
            assert content(folder) in (content(KEPT / "huggingface"), content(tmp_path / "new"))
    begin()
    work()
    assert content(folder) == content(tmp_path / "new")


def test_modes_links_and_other_files_are_kept(old: Checkpoint, tmp_path: Path) -> None:
    folder, link = tmp_path / "model", tmp_path / "link"
    write_checkpoint(folder, old)
    link.symlink_to(folder)
    (folder / "model.safetensors").chmod(0o600)
    (folder / "here").symlink_to("config.json")
    folder.chmod(0o700)
    write_checkpoint(link, old, force=True)
    assert link.is_symlink()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o600
    assert (folder / "here").readlink() == Path("config.json")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "link"}


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "spiece.model", "tokenizer.json", "vocab.txt"]
)
def test_leftovers_are_refused_before_the_work(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "readme.txt").write_text("no matter")
    check_folder(folder)
    check_folder(tmp_path / "missing")
    (folder / name).write_text("left")
    with pytest.raises(OutputError, match=f"{name} exists; give --force"):
        check_folder(folder)
    check_folder(folder, force=True)


def test_a_file_in_the_way_and_another_format_are_refused(old: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file is a file; name a directory"):
        check_folder(tmp_path / "file")
    write_checkpoint(tmp_path / "google", old, to="tensorflow1")
    with pytest.raises(OutputError, match="checkpoint of another format"):
        check_folder(tmp_path / "google", force=True)


def test_an_existing_checkpoint_is_kept_without_force(folder: Path) -> None:
    (folder / "spiece.model").write_bytes(b"old")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = read_checkpoint(PARITY / "relu_classification")
    with pytest.raises(OutputError, match=r"config\.json exists; give --force"):
        write_checkpoint(folder, other)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    write_checkpoint(folder, other, force=True)
    again = read_checkpoint(folder)
    assert again.config == other.config
    assert again.tokenizer_files == {}  # the old one was another model's


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(PARITY / "base_classification")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*model\.safetensors"):
            write_checkpoint(tmp_path / "new", checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    good = read_checkpoint(PARITY / "base_classification")
    tensors = {**good.tensors, "pooler/bias": np.zeros(3, np.float32), "more": np.zeros(1)}
    del tensors["classifier/bias"]
    bad = Checkpoint(config=good.config, task=good.task, tensors=tensors)
    with pytest.raises(
        CheckpointError,
        match=r"classifier/bias is missing, expected \(3,\); more is \(1,\), expected no such "
        r"tensor; pooler/bias is \(3,\), expected \(24,\)",
    ):
        write_checkpoint(tmp_path / "bad", bad)
    assert list(tmp_path.iterdir()) == []
