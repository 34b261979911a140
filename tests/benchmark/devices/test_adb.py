"""Measuring on a phone, against a real adbd whose shell starts the worker in a JVM."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress

from albert_edge import convert, load_keras
from albert_edge.benchmark import run
from albert_edge.benchmark.compare import compare_reports, raise_on_regression
from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.benchmark.console import render_report
from albert_edge.benchmark.devices.adb import Adb, read_services
from albert_edge.benchmark.devices.device import open_device
from albert_edge.benchmark.html import write_page
from albert_edge.benchmark.measure import measure
from albert_edge.benchmark.report_file import read_report
from albert_edge.benchmark.statistics import raise_on_failures
from albert_edge.bundle.bundle import pack, read
from albert_edge.doctor import _find_phones
from albert_edge.errors import AlbertEdgeError, BundleError, ConfigError, DeviceError, FidelityError
from albert_edge.runtime import open_model
from benchmark.devices.samples import ENDLESS, await_true
from benchmark.samples import BRIEF
from rigs.adb import ADB, PACKED, SERIAL, RigPhone, jar_contents, make_runtime, worker_jars
from rigs.gpu_delegate import ANDROID, OPENCL


@pytest.fixture(scope="session")
def rig() -> None:
    """What all phones here need; without it their tests are skipped."""
    for one in (ADB, ANDROID, OPENCL):
        one.require()


@pytest.fixture
def make_phone(rig: None, tmp_path: Path) -> Iterator[Callable[..., RigPhone]]:
    """A function `make_phone(**options)` that starts a phone."""
    started: list[RigPhone] = []

    def make(**options: Any) -> RigPhone:
        folder = tmp_path / f"phone {len(started)}"
        folder.mkdir()
        started.append(RigPhone(folder, worker_jars()[1], **options))
        return started[-1]

    yield make
    for one in started:
        one.stop()


@pytest.fixture
def phone(make_phone: Callable[..., RigPhone]) -> RigPhone:
    return make_phone()


@pytest.fixture(scope="session")
def runtime(rig: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the libraries for the rig; its name is one that a shell would take apart."""
    return make_runtime(tmp_path_factory.mktemp("runtime") / "it's $my 'runtime'.aar")


def address_of(phone: RigPhone, options: str = "") -> str:
    return f"adb://{SERIAL}?{options}adb={phone.adb}"


@pytest.fixture
def device(phone: RigPhone, runtime: Path) -> Iterator[Adb]:
    opened = open_device(address_of(phone), runtime=[runtime])
    assert isinstance(opened, Adb)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def android_file(built_once: Callable[..., Path]) -> Path:
    """The embedded model as Android runs it, with early exit and a tokenizer."""

    def build(path: Path) -> None:
        convert(load_keras("default"), target="android", verified=False).save(path)

    return built_once("phone_android.tflite", build)


@pytest.fixture(scope="session")
def float_file(built_once: Callable[..., Path]) -> Path:
    def build(path: Path) -> None:
        model = load_keras("default")
        convert(model, target="android", quantize="float32", verified=False).save(path)

    return built_once("phone_float.tflite", build)


@pytest.fixture(scope="session")
def gpu_file(built_once: Callable[..., Path]) -> Path:
    def build(path: Path) -> None:
        model = load_keras("default")
        convert(model, target="gpu", quantize="float32", seq_len=32, verified=False).save(path)

    return built_once("phone_gpu.tflite", build)


@pytest.fixture(scope="session")
def default_file(built_once: Callable[..., Path]) -> Path:
    """The embedded model as it comes: for a newer runtime than phones have."""

    def build(path: Path) -> None:
        convert(load_keras("default"), verified=False).save(path)

    return built_once("phone_default.tflite", build)


def benchmark(
    files: list[Path], phone: RigPhone, runtime: Path, *, kept: Path | None = None, **settings: Any
) -> dict[str, Any]:
    settings = {"seq_lens": (16,), "rounds": 2, **BRIEF, **settings}
    return run.benchmark(
        files,
        settings=BenchmarkConfig(**settings),
        device=address_of(phone),
        runtime=[runtime],
        json_path=kept,
        resume=True,
        progress=Progress(disable=True),
    )


def await_clean(phone: RigPhone) -> None:
    await_true(lambda: not phone.folders(), "something is left on the phone")


def test_the_worker_in_the_package_is_that_of_the_sources(rig: None) -> None:
    packed, built = map(jar_contents, (PACKED, worker_jars()[0]))
    assert packed == built, "the sources of the library or the worker changed: run `make android`"
    assert {"classes.dex", "org/albertedge/unicode.bin"} <= packed.keys()
    assert PACKED.stat().st_size < 200_000


def test_a_phone_is_described(device: Adb) -> None:
    machine = device.run({"do": "describe"}, timeout_s=60)
    assert machine["model"] == "Rig Phone 1"
    assert machine["processor"] == "Maker SM0"
    assert machine["system"] == "Android 14 (API 34),"
    assert machine["python"] == "none"
    assert machine["versions"]["tensorflow-lite"] == "2.16.1"
    here = open_device("local").run({"do": "describe"}, timeout_s=60)
    for name in ("cores", "core_kinds", "instructions", "ram_bytes", "kernel"):
        assert machine[name] == here[name], name
    assert machine["conditions"]["battery_temperature_c"] == 29.1
    assert machine["conditions"]["load_average"][2] >= 0


def test_a_file_is_measured_as_on_this_machine(
    device: Adb, phone: RigPhone, android_file: Path
) -> None:
    ids = [2, *range(100, 112), 3]
    text = {"text": "a quiet, moving film"}
    found = measure(
        android_file,
        device=device,
        input_ids=ids,
        probes=[ids[:5]],
        text=text,
        engine=device.engines["cpu"],
        **{**BRIEF, "runs": 7},
    )
    with_model = open_model(android_file)
    expected = with_model.run(ids)
    assert found.layers_used == expected["layers_used"][0]
    for actual, row in zip(found.outputs, (ids, ids[:5]), strict=True):
        right = with_model.run_all_layers(row)
        assert {name: values.shape for name, values in actual.items()} == {
            name: values.shape for name, values in right.items()
        }
        # Other int8 kernels round in other places.
        np.testing.assert_allclose(actual["logits"], right["logits"], rtol=0, atol=0.1)
    assert found.outputs_sha256.keys() == {"logits"}
    assert len(found.samples_ns) == len(found.cpu_samples_ns) == 7
    assert min(found.samples_ns) > 0
    assert len(found.text_samples_ns) == 7
    assert found.import_ms > 0
    assert found.load_ms > 0
    assert found.runtime == "TensorFlow Lite 2.16.1"
    assert found.engine == "org.albertedge.worker.Worker:cpu"
    assert found.model_bytes() > 0
    assert found.peak_rss_bytes > found.memory["empty"]["rss_bytes"]
    assert found.energy["joules"] is None
    assert "a phone reports no energy" in found.energy["reason"]
    before, after = (found.conditions[moment] for moment in ("before", "after"))
    assert before["charging"] is after["screen_on"] is True
    assert (before["battery_percent"], after["thermal_status"]) == (83, 0)
    assert sum(found.cpu_samples_ns) > 0
    assert phone.folders()


def test_files_are_copied_once_and_the_folder_goes(
    device: Adb, phone: RigPhone, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    names = ["one.tflite", "a/one.tflite", "empty", "-s", "it's \"$(x)\" 模型\n'", "long" * 60]
    paths = [tmp_path / name for name in names]
    contents = [os.urandom(3_000_001), b"2", b"", b"dash", b"odd", b"\n{}\n"]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    sent = [Path(device.send(path)) for path in paths]
    there = {path: phone.tmp / path.relative_to("/data/local/tmp") for path in sent}
    assert [there[path].read_bytes() for path in sent] == contents
    assert [device.send(path) for path in paths] == [str(path) for path in sent]
    (folder,) = phone.folders()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(folder.iterdir())) == len(names) + 2  # and the worker and the library
    with pytest.raises(DeviceError, match=r"cannot read .*none: No such file"):
        device.send(tmp_path / "none")
    device.close()
    await_clean(phone)
    device.close()  # once more does no harm


def test_a_benchmark_has_the_same_report_as_anywhere(
    phone: RigPhone, runtime: Path, android_file: Path, float_file: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "liar's file.tflite"
    blob = android_file.read_bytes()
    wrong.write_bytes(pack(blob, dataclasses.replace(read(blob), quantize="float32")))
    kept = tmp_path / "report.json"
    report = benchmark([float_file, android_file, wrong], phone, runtime, kept=kept)
    assert [row["status"] for row in report["rows"]] == ["ok", "ok", "wrong"]
    assert report["rows"][2]["rank"] is None
    with pytest.raises(FidelityError, match="the relative error of logits"):
        raise_on_failures(report)
    assert report["rows"][0]["end_to_end"]["n"] == 2
    assert read_report(kept) == json.loads(kept.read_text())
    render_report(report)
    write_page(report, tmp_path / "page.html", force=False)
    assert "Rig Phone 1" in (tmp_path / "page.html").read_text()
    raise_on_regression(compare_reports(report, report))
    await_clean(phone)


def test_a_file_for_a_newer_runtime_and_other_files(
    device: Adb, default_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=r"'FULLY_CONNECTED' version '12'.*--target android\."):
        measure(default_file, device=device, seq_len=8, **BRIEF)
    picture = tmp_path / "picture.tflite"
    picture.write_bytes(b"\x89PNG")
    with pytest.raises(BundleError, match=r"picture\.tflite"):
        measure(picture, device=device)
    assert device.run({"do": "describe"}, timeout_s=60)["cores"] >= 1


def test_a_worker_that_takes_too_long_is_ended_and_the_next_one_runs(
    device: Adb, android_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("albert_edge.benchmark.devices.adb._GRACE_S", 1.0)
    with pytest.raises(DeviceError, match=r"phone_android\.tflite on adb://.* took over 1 s"):
        measure(android_file, device=device, timeout_s=1.0, **ENDLESS)
    assert measure(android_file, device=device, seq_len=8, **BRIEF).samples_ns


def test_cores_are_chosen_and_a_screen_that_is_off_is_a_warning(
    phone: RigPhone, runtime: Path, android_file: Path
) -> None:
    (phone.folder / "wakefulness").write_text("Dozing\n")
    core = max(os.sched_getaffinity(0))
    opened = open_device(address_of(phone, f"cores={core}&"), runtime=[runtime])
    assert opened.run({"do": "describe"}, timeout_s=60)["cores"] == 1
    found = measure(android_file, device=opened, seq_len=8, threads=2, **BRIEF)
    opened.close()
    warnings = [one["code"] for one in run.find_warnings([found])]
    assert "screen-off" in warnings


def test_a_pulled_cable_is_an_error_and_nothing_is_left(
    device: Adb, phone: RigPhone, android_file: Path
) -> None:
    opened = os.open(phone.tmp, os.O_RDONLY)  # keeps what is there in sight
    left = Path(f"/proc/self/fd/{opened}")
    threading.Timer(2.0, phone.pull_cable).start()
    with pytest.raises(DeviceError, match=r"adb://.* is lost \(.+\)\. .*--resume continues"):
        measure(android_file, device=device, **ENDLESS)
    with pytest.raises(DeviceError, match="is lost"):  # at once, and for the same reason
        device.run({"do": "describe"}, timeout_s=60)
    await_true(lambda: not list(left.iterdir()), "something is left on the phone")
    os.close(opened)
    await_true(lambda: not phone.workers(), "the worker goes on")


def test_what_was_measured_before_the_cable_was_pulled_is_kept_and_goes_on(
    make_phone: Callable[..., RigPhone], runtime: Path, android_file: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "report.json"
    phone = make_phone()

    def pull() -> None:
        await_true(lambda: kept.exists() and '"latency_ms"' in kept.read_text(), "no round")
        phone.pull_cable()

    def go_on() -> dict[str, Any]:
        return benchmark([android_file], phone, runtime, kept=kept, seq_lens=(8, 16), rounds=3)

    thread = threading.Thread(target=pull)
    thread.start()
    report = go_on()
    thread.join()
    assert [row["error"]["type"] for row in report["rows"]] == ["DeviceError"] * 2
    assert 1 <= sum(len(row.get("rounds", ())) for row in report["rows"]) < 6
    phone.start()
    again = go_on()
    assert [(row["status"], len(row["rounds"])) for row in again["rows"]] == [("ok", 3)] * 2


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_control_c_and_even_a_killed_process_leave_nothing_there(
    ending: signal.Signals, phone: RigPhone, runtime: Path, android_file: Path
) -> None:
    program = "from albert_edge.cli import main; main()"
    options = ["--seq-len", "8", "--min-time", "999", "--device", address_of(phone)]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "benchmark", android_file, *options, "--runtime", runtime],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        await_true(phone.workers, "no worker")
        os.killpg(process.pid, ending)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    await_clean(phone)
    await_true(lambda: not phone.workers(), "a worker is left")
    assert "Traceback" not in errors
    assert process.returncode == (130 if ending == signal.SIGINT else -ending)


def test_what_an_earlier_run_left_is_removed(phone: RigPhone, runtime: Path) -> None:
    # Of a process that has ended, and of one that has not.
    ended = subprocess.Popen(["true"])
    ended.wait()
    for number in (ended.pid, os.getpid()):
        (phone.tmp / f"albert-edge-0123abcd.{number}").mkdir()
    (phone.tmp / "albert-edge-notes").mkdir()
    opened = open_device(address_of(phone), runtime=[runtime])
    names = {path.name for path in phone.folders()}
    opened.close()
    assert f"albert-edge-0123abcd.{os.getpid()}" in names
    assert "albert-edge-notes" in names
    assert f"albert-edge-0123abcd.{ended.pid}" not in names


def test_no_space_for_a_file_or_for_the_worker(
    make_phone: Callable[..., RigPhone], runtime: Path, tmp_path: Path
) -> None:
    phone = make_phone(size="16m")
    large, small = tmp_path / "large.tflite", tmp_path / "small.tflite"
    large.write_bytes(bytes(20_000_000))
    small.write_bytes(b"small")
    opened = open_device(address_of(phone), runtime=[runtime])
    expected = (
        r"cannot copy 0-large\.tflite \(20\.0 MB\) .*No space left.*has \d+\.\d MB free there"
    )
    for _ in range(2):
        with pytest.raises(DeviceError, match=expected):
            opened.send(large)
    assert opened.send(small).endswith("/1-small.tflite")
    opened.close()
    await_clean(phone)
    full = make_phone(size="1m")
    with pytest.raises(DeviceError, match=r"cannot copy libtensorflowlite_jni\.so .*No space left"):
        open_device(address_of(full), runtime=[runtime])
    await_clean(full)


def test_of_several_phones_one_must_be_chosen(phone: RigPhone) -> None:
    phone.run_adb("connect", "localhost:5555")
    with pytest.raises(DeviceError, match=r"adb finds 2 phones; .*adb://127\.0\.0\.1:5555"):
        open_device(f"adb://?adb={phone.adb}")


def test_a_phone_without_sha256sum_and_one_that_damages_files(
    phone: RigPhone, runtime: Path, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(100_000))
    program = phone.bin / "sha256sum"
    program.write_text("#!/bin/sh\nexit 127\n")
    program.chmod(0o755)
    opened = open_device(address_of(phone), runtime=[runtime])
    assert opened.send(path)
    program.write_text("#!/bin/sh\necho 0000 file\n")
    path.rename(tmp_path / "again")
    with pytest.raises(DeviceError, match=r"1-again arrived damaged on adb://"):
        opened.send(tmp_path / "again")
    opened.close()


def test_no_runtime_for_the_phone(phone: RigPhone, tmp_path: Path, runtime: Path) -> None:
    shutil.copy(runtime, tmp_path / "other.aar")
    (phone.bin / "getprop").write_text("#!/bin/sh\necho '[ro.product.cpu.abi]: [riscv64]'\n")
    with pytest.raises(DeviceError, match=r"has no .*_jni\.so for riscv64, only for x86_64"):
        open_device(address_of(phone), runtime=[tmp_path / "other.aar"])
    await_clean(phone)
    with pytest.raises(ConfigError, match="--runtime names the TFLite libraries of a phone"):
        open_device("local", runtime=[runtime])


def test_a_phone_that_cannot_run_the_worker(phone: RigPhone, runtime: Path) -> None:
    program = phone.bin / "app_process"
    program.write_text("#!/bin/sh\necho 'CANNOT LINK EXECUTABLE' >&2\nexit 1\n")
    opened = open_device(address_of(phone), runtime=[runtime])
    with pytest.raises(DeviceError, match=r"exit code 1; its last output was:\n  CANNOT LINK"):
        opened.run({"do": "describe"}, timeout_s=60)
    program.write_text("#!/bin/sh\necho 'albert_edge 2 400'; echo {}\n")
    with pytest.raises(AlbertEdgeError, match="albert_edge 2 400"):
        opened.run({"do": "describe"}, timeout_s=60)
    opened.close()


def test_a_gpu_is_measured_and_compared_with_the_cpu(
    phone: RigPhone, runtime: Path, gpu_file: Path, android_file: Path
) -> None:
    report = benchmark(
        [gpu_file, android_file], phone, runtime, accelerators=("cpu", "gpu"), seq_lens=None
    )
    rows = {(row["name"], row["accelerator"]): row for row in report["rows"]}
    assert rows["phone_gpu", "cpu"]["status"] == "ok"
    for accelerator in ("gpu:float32", "gpu:default"):
        row = rows["phone_gpu", accelerator]
        assert row["status"] == "ok", row["error"]
        assert row["fidelity"]["cpu"]["passed"]
        share = row["acceleration"]
        assert share["device"] == "ARM Mali-G78"
        assert share["operators_accelerated"] > 0.8 * share["operators"]
        assert "GATHER" in share["on_cpu"]
        error = rows["phone_android", accelerator]["error"]
        assert "albert-edge convert CHECKPOINT --target gpu" in error["message"]
    await_clean(phone)


def test_a_gpu_whose_library_is_not_open_to_the_shell(
    make_phone: Callable[..., RigPhone], runtime: Path, gpu_file: Path
) -> None:
    phone = make_phone(gpu=None)
    report = benchmark([gpu_file], phone, runtime, accelerators=("gpu:float32",), seq_lens=None)
    (row,) = report["rows"]
    assert row["error"]["type"] == "DeviceError"
    assert "OpenCL" in row["error"]["message"]


def test_what_services_do_not_report_is_none() -> None:
    assert set(read_services("").values()) == {None}
    text = "@battery\n  AC powered: false\n  level: 0\n@power\n  mWakefulness=Asleep\n"
    assert read_services(text) == {
        "battery_percent": 0,
        "battery_temperature_c": None,
        "charging": False,
        "screen_on": False,
        "thermal_status": None,
    }


def test_the_doctor_finds_the_phone(
    phone: RigPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adb").symlink_to(phone.adb)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert f"adb://{SERIAL}" in _find_phones()
