"""The figures of a training, in a file and for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf

from albert_edge.errors import OutputError
from albert_edge.training.pretraining.metrics_log import METRICS_FILE, MetricsLog


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
