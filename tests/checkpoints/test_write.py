"""A checkpoint is written whole or not at all."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.errors import CheckpointError, OutputError
from checkpoints.files import PARITY


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
    assert list((tmp_path / "new").iterdir()) == []


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
