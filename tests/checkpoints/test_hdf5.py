"""`tf_model.h5` and this project's Keras weights: one container, both exact."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.errors import AlbertEdgeError, CheckpointError
from albert_edge.modeling import load_keras
from albert_edge.modeling.layers import tensors

DATA = Path(__file__).parents[1] / "data"
PARITY, FOREIGN = DATA / "parity", DATA / "foreign"


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(one[k].tobytes() == other[k].tobytes() for k in one)


@pytest.mark.parametrize("name", ["odd_one_type_answers", "square_pretraining"])
def test_transformers_files_hold_the_same_numbers(name: str) -> None:
    expected, got = read_checkpoint(PARITY / name), read_checkpoint(FOREIGN / f"tf_model_{name}")
    assert (got.config, got.task) == (expected.config, expected.task)
    assert same(dict(got.tensors), dict(expected.tensors))


@pytest.mark.parametrize("directory", sorted(PARITY.iterdir()), ids=lambda path: path.name)
def test_keras_weights_come_back_bit_for_bit(directory: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(directory)
    for name in ("once", "twice"):
        write_checkpoint(tmp_path / name, checkpoint, to="keras")
    path = "keras_weights.h5"
    assert (tmp_path / "once" / path).read_bytes() == (tmp_path / "twice" / path).read_bytes()
    again = read_checkpoint(tmp_path / "once")
    assert (again.config, again.task, again.unused) == (checkpoint.config, checkpoint.task, ())
    assert same(dict(again.tensors), dict(checkpoint.tensors))


@pytest.mark.parametrize("name", ["base_classification", "two_groups_answers", "square_features"])
def test_keras_itself_loads_them(name: str, tmp_path: Path) -> None:
    source = load_keras(PARITY / name)
    write_checkpoint(tmp_path / "ours", read_checkpoint(PARITY / name), to="keras")
    model = load_keras(PARITY / name)
    for variable in model.weights:
        variable.assign(variable * 0)
    model.load_weights(str(tmp_path / "ours" / "keras_weights.h5"))
    assert same(tensors(model), tensors(source))


def test_what_keras_saved_is_read(tmp_path: Path) -> None:
    shutil.copytree(PARITY / "square_pretraining", tmp_path / "words")
    words = load_keras(tmp_path / "words")
    (tmp_path / "words/model.safetensors").unlink()
    words.save_weights(str(tmp_path / "words/keras_weights.h5"))  # the table twice
    assert same(dict(read_checkpoint(tmp_path / "words").tensors), tensors(words))
    folder = Path(shutil.copytree(PARITY / "base_classification", tmp_path / "mine"))
    model = load_keras(folder)
    (folder / "model.safetensors").unlink()
    model.save_weights(str(folder / "keras_weights.h5"))
    assert same(dict(read_checkpoint(folder).tensors), tensors(model))
    features = read_checkpoint(folder, task="feature-extraction")
    assert features.unused == ("classifier/bias", "classifier/kernel")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOREIGN / "tf_model_odd_one_type_answers", tmp_path / "damaged"))


BIAS = "qa_outputs/tf_albert_for_question_answering/qa_outputs/bias:0"


def compress(file: Any) -> None:
    del file[BIAS]
    file.create_dataset(BIAS, data=np.zeros(2, np.float32), chunks=(2,), compression="gzip")


def claim(file: Any) -> None:
    del file[BIAS]
    file.create_dataset(BIAS, shape=(2**40,), dtype=np.float32)  # no byte of it is stored


def link(file: Any) -> None:
    del file[BIAS]
    file[BIAS] = h5py.ExternalLink("/etc/passwd", "/x")


def elsewhere(file: Any) -> None:
    del file[BIAS]
    file.create_dataset(BIAS, (2,), np.float32, external=[("/etc/passwd", 0, 8)])


def twice(file: Any) -> None:
    file.create_dataset(f"albert/{BIAS.partition('/')[2]}", data=np.ones(2, np.float32))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (compress, "is compressed, external, or larger than the file"),
        (claim, "is compressed, external, or larger than the file"),
        (elsewhere, "is compressed, external, or larger than the file"),
        (link, r"qa_outputs\.bias \[2\] is missing"),
        (twice, r"has qa_outputs\.bias twice, with different values"),
    ],
)
def test_what_keras_never_writes(folder: Path, edit: Callable[[Any], None], message: str) -> None:
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        edit(file)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_files_that_are_cut_short(folder: Path, part: float) -> None:
    path = folder / "tf_model.h5"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(CheckpointError, match="is not a complete HDF5 file of Keras"):
        read_checkpoint(folder)


@settings(max_examples=120)
@given(data=st.data())
def test_damaged_bytes_give_one_clear_error_or_a_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    source = FOREIGN / "tf_model_odd_one_type_answers"
    folder = tmp_path_factory.getbasetemp() / "damaged_h5"
    shutil.copytree(source, folder, dirs_exist_ok=True)
    blob = bytearray((source / "tf_model.h5").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, 4000) | st.integers(0, len(blob)))
        patch = data.draw(st.binary(max_size=8))
        blob[start : start + len(patch)] = patch
    (folder / "tf_model.h5").write_bytes(blob)
    try:
        read_checkpoint(folder)
    except AlbertEdgeError:
        return
