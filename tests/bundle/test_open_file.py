"""A file is read through one descriptor, is as it was written, and stays so while it is open."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import albert_edge
from albert_edge.bundle.archive import OpenFile, append_archive
from albert_edge.bundle.bundle import add_verification, model_bytes, pack, read, read_checked
from albert_edge.errors import BundleError
from albert_edge.runtime import open_model

IDS = [2, 9, 11, 3]


@pytest.fixture(scope="module")
def blob(tiny_tflite: Callable[..., bytes]) -> bytes:
    return tiny_tflite("classification")


@pytest.fixture
def path(blob: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(blob)
    return path


def manifest_of(blob: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        found: dict[str, Any] = json.loads(archive.read("albert_edge.json"))
        return found


def test_the_digest_is_of_the_model_and_every_file(blob: bytes) -> None:
    digest = manifest_of(blob)["model"]["sha256"]
    assert len(digest) == 64
    read_checked(OpenFile(blob))
    file = OpenFile(blob)
    members = dict(file.members)
    members["config.json"] = members["config.json"].replace(
        b'"bos_token_id": 2', b'"bos_token_id": 4'
    )
    assert members != file.members
    with pytest.raises(BundleError, match="its SHA-256 differs"):
        read_checked(OpenFile(append_archive(blob[: file.front_bytes], members)))


def test_figures_of_verification_are_in_the_digest(blob: bytes) -> None:
    changed = add_verification(blob, {"cosine": 1.0})
    assert read_checked(OpenFile(changed)).verification == {"cosine": 1.0}
    assert manifest_of(changed)["model"]["sha256"] != manifest_of(blob)["model"]["sha256"]
    assert pack(model_bytes(changed), read(blob)) == blob


def test_a_file_without_a_digest_is_read(blob: bytes) -> None:
    file = OpenFile(blob)
    manifest = manifest_of(blob)
    del manifest["model"]["sha256"]
    members = {**file.members, "albert_edge.json": json.dumps(manifest).encode()}
    older = append_archive(blob[: file.front_bytes], members)
    assert open_model(older).run(IDS)["logits"].shape == (1, 3)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_that_is_off_is_noticed(blob: bytes, place: float, bit: int) -> None:
    size = OpenFile(blob).front_bytes
    changed = bytearray(blob)
    changed[int(place * size)] ^= 1 << bit
    with pytest.raises(BundleError):
        read_checked(OpenFile(bytes(changed)))


def test_a_renamed_file_is_old_or_new_as_a_whole(
    path: Path, tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    # Of another bundle, another graph and other weights.
    other = tiny_tflite("classification", seq_len=16, intermediate_size=32)
    old, new = open_model(path).run(IDS)["logits"], open_model(other).run(IDS)["logits"]
    assert not np.array_equal(old, new)
    file = OpenFile(path)
    (tmp_path / "new").write_bytes(other)
    (tmp_path / "new").replace(path)
    assert read_checked(file).seq_len is None
    assert isinstance(file.place(), Path)
    content = Path(str(file.place())).read_bytes()
    assert read(content).seq_len is None
    np.testing.assert_array_equal(open_model(content).run(IDS)["logits"], old)
    np.testing.assert_array_equal(open_model(path).run(IDS)["logits"], new)


def test_a_renamed_file_does_not_change_what_is_open(path: Path, tmp_path: Path) -> None:
    model = open_model(path)
    want = model.run(IDS)["logits"]
    (tmp_path / "new").write_bytes(b"nothing")
    (tmp_path / "new").replace(path)
    np.testing.assert_array_equal(model.run(IDS)["logits"], want)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be cut there")
@pytest.mark.parametrize("runs", [0, 1])
def test_a_file_that_is_cut_in_place(path: Path, runs: int) -> None:
    model = open_model(path)
    for _ in range(runs):
        model.run(IDS)
    with path.open("r+b") as file:
        file.truncate(4096)
    for _ in range(2):
        with pytest.raises(BundleError, match=r"was changed while it was open; load it again"):
            model.run(IDS)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be written there")
def test_a_file_that_is_written_to_in_place(path: Path, blob: bytes) -> None:
    model = open_model(path)
    want = model.run(IDS)["logits"]
    path.touch()
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(model.run(IDS)["logits"], want)  # nothing has changed
    with path.open("r+b") as file:
        file.seek(len(blob) // 2)
        file.write(b"other weights")
    os.utime(path, ns=(2, 2))  # whatever a clock's steps are
    with pytest.raises(BundleError, match="was changed while it was open"):
        model.run(IDS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tflite")
    for path, kind in ((tmp_path / "pipe.tflite", "pipe"), (Path("/dev/zero"), "device")):
        message = f"cannot read {path}: it is a {kind}, not a regular file"
        with pytest.raises(BundleError, match=message):
            albert_edge.load(path)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks Linux for open files")
def test_descriptors_are_given_back(path: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    open_model(path).run(IDS)  # what the runtime opens once
    gc.collect()  # what other tests left
    before = count()
    models = [open_model(path) for _ in range(3)]
    for model in models:
        model.run(IDS)
    assert count() <= before + 3 * 2  # ours and the runtime's
    del models, model
    assert count() == before


@pytest.mark.parametrize("text", ['"\\ud800"', '["a", "\\udfff b"]'])
def test_half_a_character_in_a_manifest(blob: bytes, text: str) -> None:
    file = OpenFile(blob)
    manifest = {**manifest_of(blob), "quantize": json.loads(text)}
    members = {**file.members, "albert_edge.json": json.dumps(manifest).encode()}
    with pytest.raises(
        BundleError, match=r"albert_edge\.json contains '.ud[8f].*surrogate, which is not"
    ):
        read(append_archive(blob[: file.front_bytes], members))


def test_layout_may_not_be_a_list(blob: bytes) -> None:
    file = OpenFile(blob)
    manifest = {**manifest_of(blob), "layout": ["loop"]}
    members = {**file.members, "albert_edge.json": json.dumps(manifest).encode()}
    with pytest.raises(BundleError, match=r"unknown layout \['loop'\]"):
        read(append_archive(blob[: file.front_bytes], members))
