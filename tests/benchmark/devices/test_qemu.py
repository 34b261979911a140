"""`albert_edge.benchmark.devices.qemu`: a processor of a Raspberry Pi, emulated."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

import albert_edge
from albert_edge.benchmark.compare import compare_reports
from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.benchmark.console import render_comparison, render_report
from albert_edge.benchmark.devices.arm64_root import PYTHON, cache_folder
from albert_edge.benchmark.devices.device import Device, open_device
from albert_edge.benchmark.devices.qemu import Qemu
from albert_edge.benchmark.html import render_page
from albert_edge.benchmark.measure import Count, count
from albert_edge.benchmark.outputs import decode_outputs
from albert_edge.benchmark.report_file import read_report
from albert_edge.benchmark.run import benchmark
from albert_edge.errors import BundleError, ConfigError, DeviceError
from albert_edge.files import embedded_model
from albert_edge.runtime import compiled_model
from rigs import qemu as rig

QUIET = Progress(disable=True)
EMBEDDED = embedded_model() / "model.tflite"
# Kernels of arm64 add in another order than those of x86-64.
FLOAT32_TOLERANCE = 1e-5
SENTENCES = (
    "a quiet, moving film that stays with you",
    "The plot is a mess, and the jokes are worse.",
    "I bought it for the price and kept it for the light.",
    "Not bad, not good: two hours of weather.",
)


@pytest.fixture
def open_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Device]]:
    """A function that opens `qemu://CPU`."""
    rig.use(monkeypatch)
    opened = []

    def open_one(cpu: str) -> Device:
        opened.append(open_device(f"qemu://{cpu}"))
        return opened[-1]

    yield open_one
    for device in opened:
        device.close()


def instructions(one: Count) -> tuple[int, int, int]:
    return one.instructions_load, one.instructions_first, one.instructions_inference


@pytest.mark.parametrize("address", ["qemu://", "qemu://cortex-a7", "qemu://cortex-a72?bits=32"])
def test_an_unknown_processor_is_an_error_that_lists_the_known(address: str) -> None:
    with pytest.raises(ConfigError, match=r"choose from qemu://cortex-a53, .*in 64 bits only"):
        open_device(address)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": (1, 2)}, "threads 1,2 cannot be measured on an emulated"),
        ({"accelerators": ("gpu",)}, "accelerators gpu:float32,gpu:default cannot be"),
        ({"runs": 50}, "runs 50 cannot be"),
        ({"min_time_s": 2.0}, "min_time_s 2 cannot be"),
    ],
)
def test_settings_of_time_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        benchmark(
            [EMBEDDED],
            settings=BenchmarkConfig(**settings),
            device="qemu://cortex-a72",
            progress=QUIET,
        )


def test_counts_are_the_same_twice_and_nearly_so_from_another_folder(
    open_cpu: Callable[[str], Device], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = open_cpu("cortex-a72")
    one, two = (count(EMBEDDED, device=device, seq_len=32) for _ in range(2))
    assert instructions(one) == instructions(two)
    assert one.instructions_load > 1e6
    assert one.instructions_first > one.instructions_inference > 1e6
    folder = tmp_path / "a folder with a long name" / ("x" * 90)
    folder.mkdir(parents=True)
    shutil.copy(EMBEDDED, folder / "another name.tflite")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("LONG", "y" * 1000)
    monkeypatch.chdir(folder)
    moved = count("another name.tflite", device=open_cpu("cortex-a72"), seq_len=32)
    # The bound of the comparison of reports.
    assert instructions(moved) == pytest.approx(instructions(one), rel=1e-3)


def test_a_processor_runs_its_own_kernels(open_cpu: Callable[[str], Device]) -> None:
    # Of the two only a Cortex-A76 has dot products of 8 bits.
    counts = [count(EMBEDDED, device=open_cpu(cpu)) for cpu in ("cortex-a72", "cortex-a76")]
    assert counts[1].instructions_inference < 0.7 * counts[0].instructions_inference
    assert {one.delegate for one in counts} == {"XNNPACK"}
    assert counts[0].runtime is not None
    assert counts[0].runtime.startswith("ai-edge-litert ")


def test_answers_are_those_of_this_machine(
    open_cpu: Callable[[str], Device], tmp_path: Path
) -> None:
    float32 = tmp_path / "float32.tflite"
    model = albert_edge.load_keras("default")
    albert_edge.convert(model, quantize="float32", verified=False).save(float32)
    pipe = albert_edge.load(EMBEDDED)
    ids = [pipe.tokenizer.encode(text).input_ids for text in SENTENCES]
    for path, exact in ((float32, True), (EMBEDDED, False)):
        logits = [
            np.concatenate([outputs["logits"] for outputs in predict(device, path, ids)])
            for device in (open_device("local"), open_cpu("cortex-a76"))
        ]
        if exact:
            scale = np.abs(logits[0]).max()
            np.testing.assert_allclose(logits[1], logits[0], atol=FLOAT32_TOLERANCE * scale)
        assert (logits[0].argmax(1) == logits[1].argmax(1)).all()


def predict(device: Device, path: Path, ids: list[list[int]]) -> list[dict[str, Any]]:
    job = {"do": "predict", "path": str(path), "engine": device.engines["cpu"], "threads": 1}
    with closing(device):
        result = device.run({**job, "inputs": ids, "sha256": None}, timeout_s=300)
    return [decode_outputs(text) for text in result["outputs"]]


def test_what_a_killed_process_left_is_removed(
    open_cpu: Callable[[str], Device], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    opening = (
        "import time\n"
        "from albert_edge.benchmark.devices.device import open_device\n"
        "device = open_device('qemu://cortex-a72')\n"
        "print(flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", opening], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"\n"
        (left,) = tmp_path.iterdir()
        open_cpu("cortex-a72")
        assert left.exists()  # while the process lives
        other.kill()
    open_cpu("cortex-a72")
    assert not left.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_workers_of_other_versions_are_removed_after_a_month(
    open_cpu: Callable[[str], Device],
) -> None:
    open_cpu("cortex-a72")
    old, new = (cache_folder() / f"root-0-worker-{days}" for days in (31, 29))
    for folder, days in ((old, 31), (new, 29)):
        folder.mkdir(exist_ok=True)
        os.utime(folder, (time.time() - days * 86400,) * 2)
    open_cpu("cortex-a72")
    assert not old.exists()
    new.rmdir()


def test_a_report_has_instructions_and_no_times(
    monkeypatch: pytest.MonkeyPatch, tiny_file: Path, tmp_path: Path
) -> None:
    rig.use(monkeypatch)
    path, damaged = tmp_path / "report.json", tmp_path / "damaged.tflite"
    damaged.write_bytes(b"no model")
    arguments: dict[str, Any] = {
        "settings": BenchmarkConfig(seq_lens=(8, 16)),
        "device": "qemu://cortex-a53",
        "json_path": path,
        "progress": QUIET,
    }
    report = benchmark([tiny_file, damaged], **arguments)
    assert report == read_report(path)
    assert report["schema"] == "albert_edge.benchmark/4"
    assert report["machine"]["model"] == "Cortex-A53, emulated by qemu"
    assert report["machine"]["versions"].keys() >= {"qemu", "ai-edge-litert", "numpy"}
    assert report["settings"]["rounds"] == 1
    done, longer, *failed = report["rows"]
    assert (done["rank"], longer["rank"]) == (1, 1)  # each of its length
    assert 0 < done["instructions_inference"] < longer["instructions_inference"]
    assert done["instructions_load"] > 0
    assert not [name for name in done if name.endswith("_ms")]
    assert done["fidelity"]["passed"]
    assert {row["error"]["type"] for row in failed} == {"BundleError"}

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_report(report), render_comparison(compare_reports(report, report)))
    shown = console.export_text()
    assert "M instr." in shown
    assert " ms" not in shown
    page = render_page(report)
    assert "Fewest instructions" in page
    assert "Instructions by length" in page
    assert " ms<" not in page

    changed = json.loads(path.read_text())
    changed["rows"][0]["instructions_inference"] += 10**9
    comparison = compare_reports(report, changed)
    assert comparison["rows"][0]["verdict"] == "worse"
    assert comparison["rows"][0]["changes"]["instructions_inference"]["verdict"] == "worse"

    content = path.read_text()
    again = benchmark([tiny_file, damaged], resume=True, **arguments)
    assert again["rows"] == report["rows"]
    assert json.loads(content)["rows"] == json.loads(path.read_text())["rows"]


def test_a_gpu_s_library_does_not_end_this_process(
    open_cpu: Callable[[str], Device], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteRT's for arm64 has instructions that a Cortex-A72, a Raspberry Pi 4's, lacks (SIGILL)."""
    device = open_cpu("cortex-a72")
    assert isinstance(device, Qemu)
    command = [str(word) for word in device._command(tmp_path / "counts")]
    emulated = command[: command.index(PYTHON) + 1]
    variables = [f"{name}={one}" for name, one in device._environment(compiling=False).items()]
    python = tmp_path / "python"
    inside = f"cd {shlex.quote(str(device._view))} && exec env -i {shlex.join(variables)}"
    python.write_text(f'#!/bin/sh\n{inside} {shlex.join(emulated)} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    compiled_model._probe.cache_clear()
    with pytest.raises(DeviceError, match=r"killed by SIGILL.*a Raspberry Pi 5 has them, a 4 does"):
        compiled_model.check_gpu()
    compiled_model._probe.cache_clear()


def test_errors_name_the_file_of_the_user(
    open_cpu: Callable[[str], Device], tmp_path: Path, tiny_file: Path
) -> None:
    path = tmp_path / "albert_edge/model.tflite"  # as it is called in the root, too
    path.parent.mkdir()
    path.write_bytes(b"no model")
    device = open_cpu("cortex-a76")
    with pytest.raises(BundleError, match=f"^{path} is not a"):
        count(path, device=device)
    with pytest.raises(DeviceError, match=f"^{path} on qemu://cortex-a76 took over"):
        count(path, device=device, timeout_s=0.01)
    with pytest.raises(DeviceError, match=r"tiny\.tflite on qemu://cortex-a76 took over 0\.01 s"):
        count(tiny_file, device=device, timeout_s=0.01)
