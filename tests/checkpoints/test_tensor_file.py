"""Tensors in files: their types, and only files of the checkpoint's own directory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.tensor_file import (
    LazyTensor,
    TensorFile,
    has_file,
    read_float32,
    read_json,
    safe_path,
    sha256_of,
)
from albert_edge.errors import CheckpointError, ConfigError
from checkpoints.files import Tensors, change


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_narrow_floats_are_widened_exactly(folder: Path, kind: type) -> None:
    narrow: Tensors = {}
    change(folder, lambda tensors: narrow.update({k: v.astype(kind) for k, v in tensors.items()}))
    save_file(narrow, folder / "model.safetensors")
    kernel = read_checkpoint(folder).tensors["classifier/kernel"]
    assert kernel.dtype == np.float32
    assert np.array_equal(kernel.T.astype(kind), narrow["classifier.weight"])
    assert np.array_equal(kernel.T, narrow["classifier.weight"].astype(np.float32))


@pytest.mark.parametrize("kind", [np.int8, np.float64])
def test_other_types_are_refused(folder: Path, kind: type) -> None:
    change(folder, lambda t: t.update({"classifier.bias": t["classifier.bias"].astype(kind)}))
    with pytest.raises(CheckpointError, match=r"classifier\.bias is (int8|float64)\. Save"):
        read_checkpoint(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(folder: Path, value: float) -> None:
    change(folder, lambda tensors: tensors["classifier.weight"].__setitem__((1, 2), value))
    with pytest.raises(CheckpointError, match=r"NaN or infinity in classifier\.weight;.*allow-nan"):
        read_checkpoint(folder)
    kernel = read_checkpoint(folder, allow_nan=True).tensors["classifier/kernel"]
    assert np.array_equal(kernel[2, 1], value, equal_nan=True)
    assert np.isfinite(kernel).sum() == kernel.size - 1


def file_of(tensors: Tensors) -> TensorFile:
    lazy = {
        name: LazyTensor(values.shape, str(values.dtype), lambda values=values: values)
        for name, values in tensors.items()
    }
    return TensorFile(Path("there"), (), lazy)


def test_tensors_are_read_one_at_a_time() -> None:
    def never() -> np.ndarray:
        raise AssertionError("read too early")

    first = LazyTensor((2,), "float16", lambda: np.array([1, 2], np.float16))
    file = TensorFile(Path("there"), (), {"a": first, "b": LazyTensor((2,), "float32", never)})
    name, values = next(read_float32(file, ["a", "b"]))
    assert (name, values.dtype, values.tolist()) == ("a", np.float32, [1, 2])


def test_every_tensor_of_another_type_or_that_is_not_finite_is_named() -> None:
    file = file_of({"a": np.zeros(1, np.int8), "b": np.zeros(1, np.float64), "c": np.zeros(1)})
    with pytest.raises(CheckpointError, match=r"there: .*: a is int8; b is float64; c is float64"):
        list(read_float32(file, file.tensors))
    bad = {name: np.array([np.inf], np.float32) for name in "xyz"}
    with pytest.raises(CheckpointError, match="NaN or infinity in x, z; training diverged"):
        list(read_float32(file_of(bad), ["x", "z"]))
    assert len(list(read_float32(file_of(bad), ["x", "z"], allow_nan=True))) == 2


def test_a_tensor_of_another_shape_than_announced() -> None:
    file = TensorFile(Path("there"), (), {"a": LazyTensor((3,), "float32", lambda: np.zeros(2))})
    with pytest.raises(CheckpointError, match=r"a has shape \[2\], expected \[3\]"):
        list(read_float32(file, ["a"]))


def test_a_digest_is_of_all_files_in_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, content in zip(paths, (b"one" * 500_000, b"two"), strict=True):
        path.write_bytes(content)
    assert sha256_of(paths) == hashlib.sha256(b"one" * 500_000 + b"two").hexdigest()
    assert sha256_of(paths) != sha256_of(paths[::-1])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "/etc/passwd", "a\0", 3, None])
def test_a_name_that_is_no_file_s_is_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(CheckpointError, match="which is not a file in the same directory"):
        safe_path(tmp_path, name)


def test_only_files_of_the_directory_are_read(tmp_path: Path) -> None:
    home, secret = tmp_path / "home", tmp_path / "secret"
    home.mkdir()
    secret.write_text("secret")
    (home / "file").write_text("own")
    (home / "near").symlink_to("file")
    (home / "far").symlink_to(secret)
    assert safe_path(home, "file") == home / "file"
    assert safe_path(home, "near") == home / "near"
    with pytest.raises(CheckpointError, match=r"far is a link to .*secret, outside"):
        safe_path(home, "far")
    with pytest.raises(CheckpointError, match=r"the index names none, and .*home has no such file"):
        safe_path(home, "none", where=Path("the index"))
    assert not has_file(home, "n" * 5000)


def test_links_into_the_hub_s_cache_are_followed(tmp_path: Path) -> None:
    snapshot, blob = tmp_path / "snapshots" / "abc", tmp_path / "blobs" / "123"
    for path in (snapshot, blob.parent):
        path.mkdir(parents=True)
    blob.write_text("weights")
    (snapshot / "weights").symlink_to(blob)
    assert safe_path(snapshot, "weights").read_text() == "weights"


def test_a_json_file_is_not_read_whatever_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
    os.truncate(path, 2**26 + 1)
    with pytest.raises(ConfigError, match=r"cannot read .*a\.json: it has over 67,108,864 bytes"):
        read_json(path, error=ConfigError)
