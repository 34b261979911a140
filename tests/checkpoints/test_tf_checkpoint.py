"""TensorFlow's checkpoints: a damaged index gives one clear error, and never ends the process."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.tf_checkpoint import open_variables, pack_variables, read_leveldb_table
from albert_edge.errors import AlbertEdgeError, CheckpointError


def _crc_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(n >> 1) ^ (0x82F63B78 if n & 1 else 0) for n in table]
    return table


_CRC = _crc_table()


def masked_crc32c(blob: bytes) -> bytes:
    """Return the checksum of a block, with which TensorFlow's reader believes the content."""
    value = 0xFFFFFFFF
    for byte in blob:
        value = _CRC[(value ^ byte) & 255] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return (((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


@settings(max_examples=150)
@given(data=st.data(), checked=st.booleans())
def test_damaged_bytes_give_one_clear_error_or_a_checkpoint(
    sound: Path, data: st.DataObject, checked: bool
) -> None:
    folder = sound.with_name("damaged")
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    blob = bytearray((sound / "model.ckpt-best.index").read_bytes())
    # The one block of entries ends, with its checksum, where the footer says the next one starts.
    end = (blob[-48] & 127 | blob[-47] << 7) - 5
    assert masked_crc32c(blob[: end + 1]) == blob[end + 1 : end + 5]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, (end if checked else len(blob)) - 1))
        blob[at] = data.draw(st.integers(0, 255))
    if checked:
        blob[end + 1 : end + 5] = masked_crc32c(blob[: end + 1])
    (folder / "model.ckpt-best.index").write_bytes(blob)
    try:
        read_checkpoint(folder)
    except AlbertEdgeError:
        return


@given(blob=st.binary(max_size=200))
def test_any_bytes_are_no_table_or_a_table(blob: bytes) -> None:
    for content in (blob, blob + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"):
        try:
            read_leveldb_table(content)
        except ValueError:
            continue


def test_variables_come_back_as_they_were(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    tensors = {
        "b/kernel": random.standard_normal((3, 4)).astype(np.float32),
        "a": np.float16(random.standard_normal((5,))),
        "b/number": np.array([7], np.int64),
    }
    files = pack_variables(tensors, "model.ckpt")
    assert files == pack_variables(tensors, "model.ckpt")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    file = open_variables(tmp_path, "model.ckpt")
    assert [path.name for path in file.files] == sorted(files)[::-1]
    for name, lazy in file.tensors.items():
        assert (lazy.shape, lazy.dtype) == (tensors[name].shape, str(tensors[name].dtype))
        np.testing.assert_array_equal(lazy.read(), tensors[name])
    assert file.tensors.keys() == tensors.keys()
    keys = read_leveldb_table(files["model.ckpt.index"])
    assert [key.decode() for key in keys] == ["", "a", "b/kernel", "b/number"]


def test_data_that_are_missing_or_cut_short(tmp_path: Path) -> None:
    for name, content in pack_variables({"a": np.zeros(99, np.float32)}, "m").items():
        (tmp_path / name).write_bytes(content)
    data = tmp_path / "m.data-00000-of-00001"
    os.truncate(data, 100)
    with pytest.raises(CheckpointError, match="a exceeds its data file; is the download complete"):
        open_variables(tmp_path, "m")
    data.unlink()
    with pytest.raises(CheckpointError, match=r"has no m\.data-\* next to it"):
        open_variables(tmp_path, "m")
    with pytest.raises(CheckpointError, match=r"names n\.index, and .* has no such file"):
        open_variables(tmp_path, "n")
