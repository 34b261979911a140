"""A training that is interrupted anywhere ends as if it had not been."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.checkpoints import read_checkpoint
from albert_edge.errors import OutputError, TrainingError
from albert_edge.training.pretraining.loop import METRICS_FILE, STATE_FILE, MetricsLog, pretrain
from albert_edge.training.pretraining.trainer import METRICS
from language import SHAPE, documents, fresh
from training.pretraining.conftest import OPTIONS, Project


def test_what_a_whole_training_leaves(whole: tuple[Path, dict[str, Any]]) -> None:
    output, report = whole
    names = {"config.json", "curve.jsonl", "logs", "model.safetensors", "vocab.txt"}
    assert {path.name for path in output.iterdir()} - {"tokenizer_config.json"} == names
    points = [json.loads(line) for line in (output / "curve.jsonl").read_text().splitlines()]
    assert points == report["curve"]
    assert [point["step"] for point in points] == list(range(5, 61, 5))
    assert points[-1]["train"]["loss"] < points[0]["train"]["loss"]
    assert points[-1]["held_out"]["loss"] < points[0]["held_out"]["loss"]
    made = read_checkpoint(output)
    assert made.task == "pretraining"
    for name, tensor in fresh().tensors.items():  # where it began, with the same seed
        assert not np.array_equal(made.tensors[name], tensor), name


def test_a_killed_training_goes_on_exactly(
    project: Project, whole: tuple[Path, dict[str, Any]], interrupted: Path
) -> None:
    killed_at = len((interrupted / "curve.jsonl").read_text().splitlines())
    assert 2 <= killed_at < 12
    read_checkpoint(interrupted)  # what was saved on the way is a whole checkpoint
    seldom = dataclasses.replace(OPTIONS, save_every_s=1000.0)  # may be another than before
    report = project.train(interrupted, resume=True, options=seldom)
    output, expected = whole
    assert report["resumed"]
    assert report["curve"] == expected["curve"]
    for name in ("curve.jsonl", "model.safetensors", "config.json"):
        assert (interrupted / name).read_bytes() == (output / name).read_bytes(), name
    assert not (interrupted / STATE_FILE).exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e-3},
        {"steps": 61},
        {"batch_size": 4},
        {"optimizer": "adamw"},
        {"seed": 1},
        {"examine_every": 10},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_option_is_refused(
    changes: dict[str, Any], project: Project, interrupted: Path
) -> None:
    before = _content(interrupted)
    with pytest.raises(TrainingError, match="is of a training with other data, options or weights"):
        project.train(interrupted, resume=True, options=dataclasses.replace(OPTIONS, **changes))
    assert _content(interrupted) == before


def test_another_text_or_shape_is_refused(
    project: Project, interrupted: Path, tmp_path: Path
) -> None:
    before = _content(interrupted)
    text, shape = tmp_path / "text.txt", tmp_path / "shape.json"
    content = (project.folder / "text.txt").read_text()
    text.write_text(content.replace("six", "one", 1))
    shape.write_text(json.dumps({"model_type": "albert", **SHAPE, "num_hidden_layers": 3}))
    parts = tmp_path / "parts.txt"  # the same words, but in other documents
    parts.write_text(content.replace("three", "\nthree", 1))
    for changes in ({"texts": [text]}, {"texts": [parts]}, {"config": shape}):
        with pytest.raises(TrainingError, match="with other data, options or weights"):
            project.train(interrupted, resume=True, **changes)
    assert _content(interrupted) == before


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "flipped"])
def test_a_damaged_state_is_refused(damage: str, project: Project, interrupted: Path) -> None:
    state = interrupted / STATE_FILE
    blob = bytearray(state.read_bytes())
    blob[len(blob) // 2] ^= 1
    state.write_bytes(
        {"empty": b"", "cut": bytes(blob[:-100]), "garbage": b"x" * 100, "flipped": bytes(blob)}[
            damage
        ]
    )
    before = _content(interrupted)
    with pytest.raises(TrainingError, match=r"training.npz is damaged; restart with --force"):
        project.train(interrupted, resume=True)
    assert _content(interrupted) == before


def test_a_training_that_was_interrupted_is_not_forgotten_by_accident(
    project: Project, interrupted: Path, whole: tuple[Path, dict[str, Any]]
) -> None:
    before = _content(interrupted)
    with pytest.raises(Exception, match=r"training.npz is the state of an interrupted training"):
        project.train(interrupted)
    with pytest.raises(TrainingError, match="do not fill one batch"):  # not even with --force
        project.train(interrupted, force=True, options=dataclasses.replace(OPTIONS, batch_size=512))
    assert _content(interrupted) == before
    report = project.train(
        interrupted, force=True, options=dataclasses.replace(OPTIONS, steps=1), dev=[]
    )
    assert [point["step"] for point in report["curve"]] == [1]
    assert not (interrupted / STATE_FILE).exists()


def test_a_last_step_that_diverges_is_not_kept(tmp_path: Path) -> None:
    # The step's own loss is fine, and nothing is examined after it.
    absurd = dataclasses.replace(OPTIONS, steps=1, learning_rate=1e39)  # infinite as float32
    told: list[tuple[int, list[str]]] = []
    with pytest.raises(TrainingError, match=r"diverged: at step 1 .* lower the learning rate"):
        pretrain(
            fresh(),
            documents(20),
            output=tmp_path / "model",
            options=absurd,
            progress=lambda step, found: told.append((step, sorted(found))),
        )
    assert told == [(1, sorted(METRICS))]
    assert not (tmp_path / "model" / "model.safetensors").exists()
    assert not (tmp_path / "model" / STATE_FILE).exists()


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]


def test_every_point_is_on_disk_at_once(tmp_path: Path) -> None:
    curve = MetricsLog(tmp_path, after=0)
    assert _lines(tmp_path) == []
    curve.add(5, train={"loss": 1 / 3}, held_out=None, rate=1e-3)
    assert _lines(tmp_path) == [{"step": 5, "train": {"loss": 0.333333}, "rate": 0.001}]
    curve.add(10, train={"loss": 0.25}, held_out={"loss": 0.5}, rate=1e-4)
    assert _lines(tmp_path) == curve.points
    assert [point["step"] for point in curve.points] == [5, 10]


def test_a_resumed_training_forgets_what_is_made_again(tmp_path: Path) -> None:
    curve = MetricsLog(tmp_path, after=0)
    for step in (5, 10, 15):
        curve.add(step, rate=1.0)
    assert [point["step"] for point in MetricsLog(tmp_path, after=12).points] == [5, 10]
    assert [point["step"] for point in _lines(tmp_path)] == [5, 10]
    assert MetricsLog(tmp_path, after=0).points == _lines(tmp_path) == []


def test_a_worker_that_is_not_the_first_writes_nothing(tmp_path: Path) -> None:
    MetricsLog(tmp_path, after=0).add(5, rate=1.0)
    before = (tmp_path / METRICS_FILE).read_bytes()
    other = MetricsLog(tmp_path, after=5, keep=False)
    other.add(10, rate=0.5)
    assert [point["step"] for point in other.points] == [5, 10]
    assert (tmp_path / METRICS_FILE).read_bytes() == before
    MetricsLog(tmp_path / "none", after=0, keep=False).add(5, rate=1.0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", ["{", "[]\n", '{"loss": 1}\n', '{"step": "5"}\n', "\ufffe"])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text(
        content, encoding="utf-16" if content == "\ufffe" else "utf-8"
    )
    with pytest.raises(OutputError, match=r"cannot resume .*curve.jsonl: .*--force"):
        MetricsLog(tmp_path, after=5)
    assert MetricsLog(tmp_path, after=0).points == []  # begun anew


def test_tensorboard_finds_the_figures(tmp_path: Path) -> None:
    MetricsLog(tmp_path, after=0).add(7, train={"loss": 0.5}, held_out={"loss": 0.75}, rate=0.125)
    (log,) = (tmp_path / "logs").iterdir()
    found = {}
    for record in tf.data.TFRecordDataset(str(log)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            found[value.tag] = (event.step, tf.make_ndarray(value.tensor).item())
    assert found == {"train/loss": (7, 0.5), "held_out/loss": (7, 0.75), "rate": (7, 0.125)}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a file system")
def test_a_full_disk_under_the_logs_is_one_error(tmp_path: Path) -> None:
    logs, full = tmp_path / "logs", r"cannot write .*logs: No space left on device"
    logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", logs], check=True)
    try:
        log = MetricsLog(tmp_path, after=0)
        (logs / "fill").write_bytes(bytes(4096))  # the other page is the log's
        with pytest.raises(OutputError, match=full):
            log.add(1, **{f"name {number}": 1.0 for number in range(500)})
        with pytest.raises(OutputError, match=full):
            MetricsLog(tmp_path, after=0)
        del log
    finally:
        subprocess.run(["umount", "-l", logs], check=True)
