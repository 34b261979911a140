"""The exits of a classifier: two tensors beside an ordinary checkpoint's."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.checkpoints.init import init_model
from albert_edge.errors import CheckpointError

PARITY = Path(__file__).parents[1] / "data" / "parity" / "base_classification"


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A trained classifier with exits drawn at random."""
    plain = read_checkpoint(PARITY)
    config = dataclasses.replace(plain.config, early_exit=True)
    drawn = init_model(config, "classification")
    return dataclasses.replace(plain, config=config, tensors={**drawn, **plain.tensors})


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("form", ["huggingface", "keras"])
def test_exits_are_written_and_read(checkpoint: Checkpoint, tmp_path: Path, form: str) -> None:
    write_checkpoint(tmp_path / "copy", checkpoint, to=form)
    again = read_checkpoint(tmp_path / "copy")
    assert again.config == checkpoint.config
    assert again.tensors.keys() == checkpoint.tensors.keys()
    assert all(np.array_equal(again.tensors[k], v) for k, v in checkpoint.tensors.items())


def test_to_others_it_is_an_ordinary_checkpoint_and_two_tensors(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "copy", checkpoint)
    stored, plain = (load_file(d / "model.safetensors") for d in (tmp_path / "copy", PARITY))
    passes, labels = checkpoint.config.num_hidden_layers, checkpoint.config.num_labels
    early = (passes - 1) * labels
    assert stored.pop("exits.weight").shape == (early, checkpoint.config.hidden_size)
    assert stored.pop("exits.bias").shape == (early,)
    assert stored.keys() == plain.keys()
    assert all(np.array_equal(stored[name], values) for name, values in plain.items())


def test_without_early_exit_or_for_another_task_they_are_left_out(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    write_checkpoint(folder, checkpoint)
    features = read_checkpoint(folder, task="feature-extraction")
    assert not features.config.early_exit
    assert {"exits.weight", "exits.bias"} <= set(features.unused)
    edit_config(folder, early_exit=False)
    plain = read_checkpoint(folder)
    assert plain.unused == ("exits.bias", "exits.weight")
    assert plain.tensors.keys() == checkpoint.tensors.keys() - {"exits/kernel", "exits/bias"}


def test_exits_that_lack_are_drawn_on_request_only(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PARITY, tmp_path / "copy"))
    edit_config(folder, early_exit=True)
    with pytest.raises(CheckpointError, match=r"exits\.weight \[.*\] is missing"):
        read_checkpoint(folder)
    drawn = read_checkpoint(folder, init_head=True)
    assert drawn.randomly_initialized == ("exits/kernel", "exits/bias")
    trained = read_checkpoint(PARITY).tensors["classifier/kernel"]
    np.testing.assert_array_equal(drawn.tensors["classifier/kernel"], trained)
    tensors = load_file(folder / "model.safetensors")
    passes, labels = drawn.config.num_hidden_layers, drawn.config.num_labels
    tensors["exits.bias"] = np.zeros((passes - 1) * labels, np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"exits\.weight \[.*\] is missing"):
        read_checkpoint(folder, init_head=True)  # damage is not mended by chance


def test_googles_format_has_no_place_for_them(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no name for exits/kernel, exits/bias; write anoth"):
        write_checkpoint(tmp_path / "copy", checkpoint, to="tensorflow1")
    plain = read_checkpoint(PARITY)
    write_checkpoint(tmp_path / "google", plain, to="tensorflow1")
    path = tmp_path / "google" / "albert_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "early_exit": True}))
    with pytest.raises(CheckpointError, match="has no early_exit; remove it"):
        read_checkpoint(tmp_path / "google")
