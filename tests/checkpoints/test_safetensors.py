"""Safetensors files: what is cut short or of another format is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.safetensors import open_safetensors, pack_tensors
from albert_edge.errors import CheckpointError, MissingExtraError
from checkpoints.files import PARITY


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "not a complete safetensors file"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(200), "not a complete safetensors file"),
        (b"\xff" * 100, "not a complete safetensors file"),
        (save({}), "does not fit|distinct layers"),
    ],
)
def test_foreign_weights(folder: Path, blob: bytes, message: str) -> None:
    (folder / "model.safetensors").write_bytes(blob)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


@pytest.mark.parametrize("part", [0.001, 0.05, 0.5, 0.99999])
def test_weights_that_are_cut_short(folder: Path, part: float) -> None:
    path = folder / "model.safetensors"
    blob = path.read_bytes()
    path.write_bytes(blob[: int(len(blob) * part)])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        read_checkpoint(folder)


def test_weights_are_recognized_by_their_content(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert read_checkpoint(folder).task == "classification"


def test_without_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'albert_edge\[convert\]'"):
        read_checkpoint(PARITY / "base_classification")


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=8).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(
            st.sampled_from(["float32", "float16", "float64", "int8", "int32", "int64"]),
            st.lists(st.integers(0, 3), min_size=1, max_size=3),
        ),
        max_size=4,
    )
)
def test_what_is_packed_is_opened_again(
    tmp_path_factory: pytest.TempPathFactory, specs: dict[str, tuple[str, list[int]]]
) -> None:
    random = np.random.default_rng(3)
    tensors = {
        name: (10 * random.standard_normal(shape)).astype(dtype)
        for name, (dtype, shape) in specs.items()
    }
    path = tmp_path_factory.getbasetemp() / "packed.safetensors"
    path.write_bytes(blob := pack_tensors(tensors))
    assert pack_tensors(dict(reversed(tensors.items()))) == blob
    file = open_safetensors(path)
    assert file.files == (path,)
    assert file.tensors.keys() == tensors.keys()
    for name, lazy in file.tensors.items():
        assert (lazy.shape, lazy.dtype) == (tensors[name].shape, str(tensors[name].dtype))
        np.testing.assert_array_equal(lazy.read(), tensors[name])


def test_a_transposed_tensor_is_packed_in_its_own_order(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T
    (tmp_path / "a").write_bytes(pack_tensors({"a": values}))
    np.testing.assert_array_equal(open_safetensors(tmp_path / "a").tensors["a"].read(), values)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*none"):
        open_safetensors(tmp_path / "none")
