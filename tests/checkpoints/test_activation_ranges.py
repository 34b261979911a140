"""The file of trained ranges: whole and of these weights, or refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.checkpoints.activation_ranges import RANGES_FILE, channels_of
from albert_edge.errors import CheckpointError, OutputError
from albert_edge.modeling.layers import tensors

SCORES = "encoder/group_0/layer_0/attention/scores"


@pytest.fixture(scope="module")
def trained(tiny_albert: Callable[..., Any]) -> Checkpoint:
    model = tiny_albert("classification")
    random = np.random.default_rng(0)
    ranges = {
        name: np.sort(random.normal(size=(2, size)), axis=0) * [[-1], [1]]
        for name, size in channels_of(model.config).items()
    }
    ranges = {name: (np.abs(v) * [[-1], [1]]).astype(np.float32) for name, v in ranges.items()}
    return Checkpoint(config=model.config, task=model.task, tensors=tensors(model), ranges=ranges)


@pytest.mark.parametrize("to", ["huggingface", "keras", "tensorflow1"])
def test_survives_every_format(trained: Checkpoint, to: str, tmp_path: Path) -> None:
    if to == "keras":
        pytest.importorskip("h5py")
    write_checkpoint(tmp_path / "new", trained, to=to)
    task = "classification" if to == "tensorflow1" else "auto"
    again = read_checkpoint(tmp_path / "new", task=task)
    assert again.ranges.keys() == trained.ranges.keys()
    for name, values in trained.ranges.items():
        assert again.ranges[name].dtype == np.float32
        assert np.array_equal(again.ranges[name], values), name


def test_an_old_file_does_not_stay(trained: Checkpoint, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "new", trained)
    bare = dataclasses.replace(trained, ranges={})
    write_checkpoint(tmp_path / "new", bare, force=True)
    assert not (tmp_path / "new" / RANGES_FILE).exists()
    assert read_checkpoint(tmp_path / "new").ranges == {}
    write_checkpoint(tmp_path / "bare", bare)
    (tmp_path / "bare" / "config.json").unlink()
    (tmp_path / "bare" / "model.safetensors").unlink()
    (tmp_path / "bare" / RANGES_FILE).write_text("{}")
    with pytest.raises(OutputError, match=RANGES_FILE):
        write_checkpoint(tmp_path / "bare", bare)


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(whole: dict[str, Any]) -> None:
        *steps, last = path.split(" ")
        for step in steps:
            whole = whole[step]
        whole[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("format", 2), "has format 2, expected 1; update albert_edge, or remove"),
        (_set("encoder_sha256", "0" * 64), "ranges of other weights than those beside it"),
        (_set("more", 1), "it has the keys"),
        (_set("ranges", []), "is damaged"),
        (lambda whole: whole["ranges"].pop(SCORES), f"1 names are missing or unknown.*{SCORES}"),
        (_set("ranges x", {}), "1 names are missing or unknown, such as x"),
        (_set(f"ranges {SCORES}", {"low": [0]}), "scores must have a low and a high"),
        (_set(f"ranges {SCORES} low", [0, 0]), "is damaged"),
        (_set(f"ranges {SCORES}", {"low": [0, 0], "high": [1, 1]}), "must have 1 channels"),
        (_set(f"ranges {SCORES} low", [0.5]), "finite ranges that include 0"),
        (_set(f"ranges {SCORES} high", [float("nan")]), "finite ranges that include 0"),
        (_set(f"ranges {SCORES} high", ["much"]), "is damaged"),
    ],
)
def test_a_damaged_file_is_refused(
    trained: Checkpoint, change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "new", trained)
    path = tmp_path / "new" / RANGES_FILE
    whole = json.loads(path.read_text())
    change(whole)
    path.write_text(json.dumps(whole))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "new")


def test_half_a_file_is_refused(trained: Checkpoint, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "new", trained)
    path = tmp_path / "new" / RANGES_FILE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="is not JSON"):
        read_checkpoint(tmp_path / "new")
