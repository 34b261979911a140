"""`--accelerator gpu` of the verbs that run a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from albert_edge.conversion import convert
from albert_edge.modeling import load_keras
from cli.commands import PARITY, albert_edge

SOURCE = PARITY / "base_classification"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same checkpoint in today's fixed-length graph, and in the one for GPUs."""
    folder, model = tmp_path_factory.mktemp("files"), load_keras(SOURCE)
    made = {
        "unrolled": convert(model, layout="unrolled", quantize="float32", seq_len=16),
        "gpu": convert(model, target="gpu", quantize="float32", seq_len=16),
    }
    for name, one in made.items():
        (folder / f"{name}.tflite").write_bytes(one.blob)
    return {name: folder / f"{name}.tflite" for name in made}


def test_verify_passes_what_is_right_and_refuses_what_is_not(
    software_gpu: None, files: dict[str, Path]
) -> None:
    done = albert_edge("verify", files["gpu"], SOURCE, "--accelerator", "gpu", "--json")
    assert done.exit_code == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["passed"]
    assert report["acceleration"]["difference"] <= report["acceleration"]["limit"] == 1e-5
    assert all(one["error"] <= 1e-5 for one in report["outputs"].values())
    done = albert_edge("verify", files["unrolled"], SOURCE, "--accelerator", "gpu")
    assert done.exit_code == 1
    assert "unrolled.tflite is computed wrong by" in done.stderr
    done = albert_edge("verify", files["unrolled"], SOURCE)  # and right by the CPU
    assert done.exit_code == 0


def test_run_says_what_the_gpu_runs(
    software_gpu: None, files: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    ids = ("--ids", "2 9 11 3")
    done = albert_edge("run", files["gpu"], *ids, "--accelerator", "gpu:default", "--json")
    assert done.exit_code == 0, done.stderr
    shown = capfd.readouterr().err
    assert "default precision, " in shown
    assert " operators on SwiftShader Device" in shown
    on_cpu = albert_edge("run", files["gpu"], *ids, "--json")
    assert json.loads(done.stdout)["label"] == json.loads(on_cpu.stdout)["label"]
    assert "operators" not in capfd.readouterr().err
    done = albert_edge("run", files["unrolled"], *ids, "--accelerator", "gpu")
    assert done.exit_code == 1
    assert "is computed wrong by" in done.stderr
    done = albert_edge("run", files["gpu"], *ids, "--accelerator", "gpu", "--patience", "1")
    assert done.exit_code == 1
    assert "early exit" in done.stderr


def test_evaluate_scores_what_the_gpu_predicts(
    software_gpu: None, toy_model: Path, toy_table: Path, tmp_path: Path
) -> None:
    path = tmp_path / "toy.tflite"
    path.write_bytes(convert(load_keras(toy_model), target="gpu", seq_len=12).blob)
    arguments = ("evaluate", path, toy_table, "--limit", "6", "--json")
    on_gpu, on_cpu = (
        json.loads(albert_edge(*arguments, *more).stdout)["models"][0]
        for more in (("--accelerator", "gpu"), ())
    )
    assert on_gpu["metrics"] == on_cpu["metrics"]
    assert on_gpu["workers"] == 1
    assert on_gpu["acceleration"]["operators_accelerated"] > 0
    assert "acceleration" not in on_cpu


def test_saved_predictions_need_no_accelerator(toy_table: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    done = albert_edge("evaluate", "default", toy_table, "--limit", "2", "--predictions", saved)
    assert done.exit_code == 0, done.stderr
    done = albert_edge("evaluate", saved, toy_table, "--limit", "2", "--accelerator", "gpu")
    assert done.exit_code == 1
    assert "holds predictions, which no accelerator has to run" in done.stderr


def test_without_a_gpu_every_verb_says_so(
    no_gpu: None, files: dict[str, Path], toy_table: Path
) -> None:
    for verb, *arguments in (
        ("run", files["gpu"], "--ids", "2 3"),
        ("verify", files["gpu"], SOURCE),
        ("evaluate", files["gpu"], toy_table),
    ):
        done = albert_edge(verb, *arguments, "--accelerator", "gpu")
        assert done.exit_code == 1
        assert "finds no GPU" in done.stderr, (verb, done.stderr)
