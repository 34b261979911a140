"""What may be named as the source of weights."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from albert_edge import files
from albert_edge.checkpoints import (
    Checkpoint,
    check_folder,
    formats,
    read_checkpoint,
    write_checkpoint,
)
from albert_edge.checkpoints.formats import is_hub_id
from albert_edge.checkpoints.init import init_model
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError, ConfigError, OutputError
from checkpoints.files import PARITY


@pytest.mark.parametrize(
    "source", ["nowhere", "albert-base-v9", "./albert/v2", "/a/b", "../a", "a/b/c", "a" * 999]
)
def test_unknown_sources_list_what_there_is(source: str) -> None:
    with pytest.raises(
        CheckpointError, match=r"is not a directory.*default, questions, emb.*albert-base-v1"
    ):
        read_checkpoint(source)


def test_a_file_is_not_a_source() -> None:
    with pytest.raises(CheckpointError, match="is a file, and a checkpoint is a directory"):
        read_checkpoint(PARITY / "gelu_features" / "model.safetensors")


def test_unknown_tasks() -> None:
    with pytest.raises(ConfigError, match="unknown task 'translation'; choose from feature-ex"):
        read_checkpoint(PARITY / "gelu_features", task="translation")


def test_a_preset_says_that_its_weights_are_random() -> None:
    checkpoint = read_checkpoint("albert-base-v2", task="classification")
    assert checkpoint.source == "albert-base-v2 (random weights)"
    assert (checkpoint.task, checkpoint.sha256) == ("classification", "")
    assert checkpoint.tensors["classifier/kernel"].shape == (768, 2)


def test_a_directory_is_read_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PARITY / "gelu_features", tmp_path / "albert-base-v2")
    monkeypatch.chdir(tmp_path)
    assert read_checkpoint("albert-base-v2").config.hidden_size == 24


def test_initial_weights_are_drawn_as_google_draws_them() -> None:
    config = AlbertConfig(hidden_size=64, num_attention_heads=4, initializer_range=0.1)
    tensors = init_model(config, "classification")
    kernel = tensors["embeddings/word_embeddings"]  # 30,000 × 128 draws
    assert np.abs(kernel).max() <= np.float32(0.2)
    # A standard normal cut at ±2 has the deviation 0.8796; 4 M draws give it to three digits.
    assert kernel.std() == pytest.approx(0.08796, abs=1e-4)
    assert kernel.mean() == pytest.approx(0, abs=1e-4)
    assert np.all(tensors["embeddings/layer_norm/gamma"] == 1)
    assert np.all(tensors["classifier/bias"] == 0)


def test_a_seed_gives_the_same_weights() -> None:
    config = AlbertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)
    once, twice = (init_model(config, "question-answering", seed=3) for _ in range(2))
    other = init_model(config, "question-answering", seed=4)
    assert all(np.array_equal(once[name], twice[name]) for name in once)
    assert not np.array_equal(once["qa_outputs/kernel"], other["qa_outputs/kernel"])


DATA = Path(__file__).parents[1] / "data"
REVISION = "0123456789abcdef0123456789abcdef01234567"
# huggingface_hub reads its environment when it is imported: each test is a process of its own.
READ = """
import sys
from albert_edge.checkpoints import read_checkpoint
from albert_edge.errors import CheckpointError
try:
    checkpoint = read_checkpoint("somebody/my-albert")
    print(checkpoint.source, checkpoint.task, checkpoint.config.hidden_size)
except CheckpointError as error:
    print(error)
"""


def read(home: Path, **environment: str) -> str:
    variables = {**os.environ, "HF_HOME": str(home), **environment}
    command = [sys.executable, "-W", "error", "-c", READ]
    done = subprocess.run(command, env=variables, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cache(home: Path, source: Path) -> Path:
    """Lay a directory out as the Hub's cache does: contents, and links to them by revision."""
    model = home / "hub/models--somebody--my-albert"
    (model / "blobs").mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs/main").write_text(REVISION)
    snapshot = model / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(source.iterdir())):
        shutil.copy(path, model / f"blobs/{number:040}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:040}")
    return snapshot


@pytest.mark.parametrize(
    "source", ["parity/odd_one_type_answers", "foreign/torch", "foreign/sharded"]
)
def test_the_cache_is_enough(tmp_path: Path, source: str) -> None:
    cache(tmp_path, DATA / source)
    expected = f"somebody/my-albert@{REVISION} question-answering 15\n"
    assert read(tmp_path, HF_HUB_OFFLINE="1") == expected


def test_a_link_out_of_the_cache_is_refused(tmp_path: Path) -> None:
    snapshot = cache(tmp_path, DATA / "parity/odd_one_type_answers")
    (tmp_path / "secret").write_text("{}")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(tmp_path / "secret")
    assert "config.json is a link to" in read(tmp_path, HF_HUB_OFFLINE="1")


def test_offline_and_not_in_the_cache(tmp_path: Path) -> None:
    message = read(tmp_path, HF_HUB_OFFLINE="1")
    assert message.startswith("'somebody/my-albert' is not a directory, and a model of this name")
    assert "give its directory" in message
    assert message.count("\n") == 1


def test_no_network(tmp_path: Path) -> None:
    """Nothing listens at this port."""
    message = read(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert message.startswith("'somebody/my-albert' is not a directory, and a model of this name")


def test_what_is_here_wins(tmp_path: Path) -> None:
    shutil.copytree(DATA / "parity/gelu_features", tmp_path / "somebody/my-albert")
    assert read(tmp_path, HF_HUB_OFFLINE="1") == "my-albert feature-extraction 24\n"


@pytest.mark.parametrize(
    "name",
    ["", "/", "a/", "/a", "../a", "./a", "a/b/c", "a b/c", "a/b\n", "a" * 60 + "/" + "b" * 60],
)
def test_what_is_no_name_of_the_hub(name: str) -> None:
    assert not is_hub_id(name)


def test_a_preset_is_random_and_reports_it() -> None:
    found = read_checkpoint("albert-base-v2", task="classification")
    assert set(found.randomly_initialized) == found.tensors.keys()
    assert found.notes == (
        "the trained weights are those of albert/albert-base-v2, on the Hugging Face Hub",
    )


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
    made = {id(one): formats._WRITERS[to](one) for one in (old, new)}
    monkeypatch.setitem(formats._WRITERS, to, lambda one: made[id(one)])
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
