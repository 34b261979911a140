"""Several processes that train one model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.errors import TrainingError
from albert_edge.training.pretraining.distributed import DistributedContext
from albert_edge.training.pretraining.options import PretrainOptions
from training.pretraining.conftest import Project, kill_once, worker_configs


def _start_two(project: Project, output: Path, *more: str) -> list[subprocess.Popen[str]]:
    configs = worker_configs(2)
    return [project.start(output, *more, environment={"TF_CONFIG": text}) for text in configs]


def test_two_workers_come_to_what_one_does(
    project: Project, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    output = tmp_path / "two"
    workers = _start_two(project, output, "--json")
    reports = []
    for worker in workers:
        shown, errors = worker.communicate()
        assert worker.returncode == 0, errors
        assert errors == ""
        reports.append(json.loads(shown))
    _, alone = whole
    assert [report["workers"] for report in reports] == [2, 2]
    assert reports[0]["curve"] == reports[1]["curve"]  # both know all of it
    points = [json.loads(line) for line in (output / "curve.jsonl").read_text().splitlines()]
    assert points == reports[0]["curve"]
    assert [point["step"] for point in points] == [point["step"] for point in alone["curve"]]
    for point, expected in zip(points, alone["curve"], strict=True):
        for group in ("train", "held_out"):
            for name in ("loss", "mlm_loss", "sop_loss"):
                # The same sums in another order: float32 keeps seven digits, and 60 steps of
                # training make differences grow.
                assert point[group][name] == pytest.approx(expected[group][name], abs=1e-4)
    assert {path.name for path in output.iterdir()} == {path.name for path in whole[0].iterdir()}


def test_who_loses_a_worker_says_so_and_one_alone_can_go_on(
    project: Project, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    output = tmp_path / "lost"
    workers = _start_two(project, output, "--save-every", "0.2")
    kill_once(output, workers)
    shown, errors = workers[0].communicate()
    assert workers[0].returncode == 1
    assert shown == ""
    assert errors.startswith("albert-edge: a worker other than number 0 was lost; start all 2")
    workers[1].communicate()
    report = project.train(output, resume=True)
    losses = [point["train"]["loss"] for point in report["curve"]]
    expected = [point["train"]["loss"] for point in whole[1]["curve"]]
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)  # as above


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "x"}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_bad_tf_config_is_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(TrainingError, match=r'TF_CONFIG must be like \{"cluster": .*, not .*: '):
        DistributedContext.from_environment()


@pytest.mark.parametrize(
    "text", ["", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}']
)
def test_one_worker_is_alone(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    assert (
        DistributedContext.from_environment()
        == DistributedContext.alone()
        == DistributedContext(1, 0, None)
    )
    assert DistributedContext.alone().first


def test_every_worker_has_rows_of_its_own() -> None:
    batch = {"order": np.arange(12), "input_ids": np.arange(24).reshape(12, 2)}
    parts = [DistributedContext(3, index, None).part(batch) for index in range(3)]
    for name, array in batch.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)
        assert {len(part[name]) for part in parts} == {4}


def test_a_batch_must_be_shared_out_whole() -> None:
    options = PretrainOptions(batch_size=12, accumulate=2)
    DistributedContext(3, 0, None).check(options)
    with pytest.raises(TrainingError, match="batch_size 12 must be a multiple of 4 workers times"):
        DistributedContext(4, 0, None).check(options)
