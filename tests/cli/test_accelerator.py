"""`--accelerator` of the verbs that run a file: a GPU, and an Edge TPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from albert_edge.conversion import convert
from albert_edge.modeling import load_keras
from albert_edge.runtime import external_delegate
from cli.commands import PARITY, albert_edge
from rigs.edgetpu_delegate import NAME, RIG, forge_file

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


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the target `edgetpu`, not compiled."""
    folder = tmp_path_factory.mktemp("edgetpu") / "products"
    convert(load_keras(SOURCE), target="edgetpu", seq_len=16).save(folder)
    return folder


@pytest.fixture
def folder(products: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, compiled for the Edge TPU of the rig."""
    monkeypatch.setenv("ALBERT_EDGE_EDGETPU_LIBRARY", str(RIG.require() / NAME))
    folder = Path(shutil.copytree(products, tmp_path / "compiled"))
    for path in folder.glob("*_16.tflite"):
        forge_file(path)
    external_delegate._passed.clear()
    return folder


IDS = ("--ids", "2 9 11 3")


def test_run_on_an_edge_tpu_is_the_cpu_s_result(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done = albert_edge("run", folder, *IDS, "--accelerator", "edgetpu:usb", "--json")
    assert done.exit_code == 0, done.stderr
    shown = capfd.readouterr().err
    assert "products of 8 bits, 4 of " in shown
    assert "operators on an Edge TPU on USB; on the CPU: the host graph" in shown
    assert done.stdout == albert_edge("run", folder, *IDS, "--json").stdout


def test_verify_refuses_an_edge_tpu_that_computes_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = albert_edge("verify", folder, SOURCE, "--accelerator", "edgetpu", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["passed"]
    assert report["acceleration"]["difference"] == 0  # bit for bit
    on_cpu = json.loads(albert_edge("verify", folder, SOURCE, "--json").stdout)
    assert report["outputs"] == on_cpu["outputs"]
    monkeypatch.setenv("FAKE_EDGETPU", "wrong")
    done = albert_edge("verify", folder, SOURCE, "--accelerator", "edgetpu")
    assert done.exit_code == 1
    assert "_16_edgetpu.tflite is computed wrong by an Edge TPU: a code is off by" in done.stderr


def test_evaluate_scores_what_the_edge_tpu_predicts(
    folder: Path, toy_model: Path, toy_table: Path, tmp_path: Path
) -> None:
    made = tmp_path / "toy"
    convert(load_keras(toy_model), target="edgetpu", seq_len=12).save(made)
    for path in made.glob("*_12.tflite"):
        forge_file(path)
    arguments = ("evaluate", made, toy_table, "--limit", "6", "--json")
    on_chip, on_cpu = (
        json.loads(albert_edge(*arguments, *more).stdout)["models"][0]
        for more in (("--accelerator", "edgetpu"), ())
    )
    assert on_chip["metrics"] == on_cpu["metrics"]
    assert on_chip["workers"] == 1
    assert on_chip["acceleration"]["operators_accelerated"] == 4
    assert "acceleration" not in on_cpu


def benchmark(folder: Path, tmp_path: Path) -> tuple[Any, list[dict[str, Any]]]:
    report = tmp_path / "report.json"
    quick = ("--rounds", "1", "--runs", "3", "--min-time", "0", "--seq-len", "16")
    accelerators = ("--accelerator", "cpu,edgetpu:usb", "--force", "--json", report)
    done = albert_edge("benchmark", folder, *quick, *accelerators)
    return done, json.loads(report.read_text())["rows"]


def test_benchmark_says_what_the_products_took(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_EDGETPU_US", "2000")
    done, (on_cpu, on_chip) = benchmark(folder, tmp_path)
    assert done.exit_code == 0, done.stderr
    assert (on_cpu["accelerator"], on_chip["accelerator"]) == ("cpu", "edgetpu:usb")
    assert on_chip["status"] == on_cpu["status"] == "ok"
    assert on_chip["outputs_sha256"] == on_cpu["outputs_sha256"]  # bit for bit
    assert on_chip["fidelity"]["cpu"]["passed"]
    assert on_chip["delegate"] == "an Edge TPU on USB"
    calls = on_chip["products"]["calls"]
    assert calls == on_cpu["products"]["calls"] == 4 * 6  # products and passes
    # Each took 2 ms, which the latency has and the host's part has not.
    assert 2 * calls <= on_chip["products"]["ms"] <= on_chip["latency_ms"] * 1.5
    assert on_cpu["products"]["ms"] < 2 * calls
    assert on_chip["latency_ms"] >= 2 * calls
    assert "24 products took" in done.stdout


def test_benchmark_marks_a_wrong_edge_tpu_and_one_that_crashes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_EDGETPU", "wrong")
    done, (on_cpu, on_chip) = benchmark(folder, tmp_path)
    assert done.exit_code == 1
    assert (on_cpu["rank"], on_chip["rank"]) == (1, None)
    assert on_chip["status"] == "wrong"
    assert "WRONG" in done.stdout
    assert "Compile the products again" in done.stderr
    monkeypatch.setenv("FAKE_EDGETPU", "crash-run")
    done, (on_cpu, on_chip) = benchmark(folder, tmp_path)
    assert done.exit_code == 1
    assert on_cpu["status"] == "ok"
    assert "killed by SIGSEGV" in on_chip["error"]["message"]


def test_what_is_missing_is_said_by_every_verb(
    folder: Path, products: Path, toy_table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(folder: Path | str, accelerator: str) -> set[str]:
        said = set()
        for verb, *arguments in (
            ("run", folder, *IDS),
            ("verify", folder, SOURCE),
            ("evaluate", folder, toy_table),
        ):
            done = albert_edge(verb, *arguments, "--accelerator", accelerator)
            assert done.exit_code == 1, (verb, done.stdout)
            said.add(done.stderr)
        return said

    assert all("it was not compiled for the Edge TPU" in one for one in say(products, "edgetpu"))
    assert all("finds no Edge TPU on PCIe" in one for one in say(folder, "edgetpu:pci"))
    monkeypatch.setenv("ALBERT_EDGE_EDGETPU_LIBRARY", "libedgetpu-missing.so")
    assert all("is not installed" in one for one in say(folder, "edgetpu"))


def test_a_single_file_and_other_names_are_refused(tmp_path: Path) -> None:
    done = albert_edge("run", "default", *IDS, "--accelerator", "edgetpu")
    assert done.exit_code == 1
    assert "is one file, and an Edge TPU runs the products of a layer" in done.stderr
    for name in ("edgetpu:", "edgetpu:x", "edgetpu:-1", "npu:3"):
        done = albert_edge("run", "default", *IDS, "--accelerator", name)
        assert done.exit_code == 2, name
    done = albert_edge("run", "default", *IDS, "--accelerator", "edgetpu:N")
    assert "unknown accelerator 'edgetpu:N'" in done.stderr
