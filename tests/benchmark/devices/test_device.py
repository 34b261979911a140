"""`albert_edge.benchmark.devices.device`: addresses, results, and this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from albert_edge.benchmark.devices.device import Local, open_device, parse_worker_output
from albert_edge.benchmark.measure import measure
from albert_edge.benchmark.system import describe_machine
from albert_edge.errors import BundleError, ConfigError, DeviceError, MissingExtraError

ENDED = {"stderr": "", "ending": "exit code 0", "where": "here"}


def test_this_machine_describes_itself_in_another_process() -> None:
    described = open_device("local").run({"do": "describe"}, timeout_s=60)
    here = json.loads(json.dumps(describe_machine()))
    del described["conditions"], here["conditions"]
    assert described == here


def test_a_file_is_where_it_is() -> None:
    assert Local().send(Path("a/b.tflite")) == str(Path("a/b.tflite"))


@pytest.mark.parametrize("address", ["", "moon", "moon://user@host"])
def test_a_device_of_no_known_kind(address: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown device .*choose from local"):
        open_device(address)


def test_this_machine_has_no_address() -> None:
    with pytest.raises(ConfigError, match="the address of this machine is 'local'"):
        open_device("local://here")


def test_a_result_is_parsed_and_an_error_keeps_its_class() -> None:
    assert parse_worker_output('{"a": 1}', **ENDED) == {"a": 1}
    with pytest.raises(BundleError, match="it is damaged"):
        parse_worker_output('{"error": "BundleError", "message": "it is damaged"}', **ENDED)
    with pytest.raises(MissingExtraError, match="no such package"):
        parse_worker_output('{"error": "MissingExtraError", "message": "no such package"}', **ENDED)


@pytest.mark.parametrize("kind", ["SystemExit", "annotations", "nothing"])
def test_an_error_of_no_known_class_is_the_device_s(kind: str) -> None:
    with pytest.raises(DeviceError, match="odd"):
        parse_worker_output(json.dumps({"error": kind, "message": "odd"}), **ENDED)


@pytest.mark.parametrize("text", ["", "Segmentation fault", "[1]", "7", '{"a": '])
def test_without_a_result_the_error_contains_the_exit(text: str) -> None:
    with pytest.raises(
        DeviceError, match=r"here: exit code 9; its last output was:\n  two\n  three"
    ):
        parse_worker_output(text, stderr="two\nthree\n", ending="exit code 9", where="here")


@pytest.fixture
def trapped_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which every module that a worker may import raises an error."""
    names = {name.partition(".")[0] for name in sys.modules} | {*sys.stdlib_module_names}
    for name in names - {"sys", "builtins"}:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('executed from the working folder')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_modules_in_the_working_directory_are_not_executed(
    trapped_folder: Path, tiny_file: Path
) -> None:
    assert Local().run({"do": "describe"}, timeout_s=60)["cores"] >= 1
    assert measure(tiny_file, seq_len=4, runs=1, warmup=0, min_time_s=0.0).samples_ns


def test_the_worker_imports_the_package_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "albert_edge"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('another albert_edge')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert Local().run({"do": "describe"}, timeout_s=60)["cores"] >= 1


# It measures for ever, in a worker that writes its process id.
ENDLESS_RUN = """
import sys
from albert_edge.benchmark.measure import measure
measure(sys.argv[1], engine="engine_under_test:open_model", seq_len=4, min_time_s=999.0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT", "SIGKILL", "SIGHUP"])
def test_a_worker_ends_with_its_parent(ending: str, tiny_file: Path, tmp_path: Path) -> None:
    number = tmp_path / "number"
    (tmp_path / "engine_under_test.py").write_text(
        "import os, pathlib, albert_edge.runtime as ours\n"
        "def open_model(path, *, threads):\n"
        f"    pathlib.Path({str(number)!r}).write_text(f'{{os.getpid()}}.')\n"
        "    return ours.open_model(path, threads=threads)\n"
    )
    search = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    parent = subprocess.Popen(
        [sys.executable, "-c", ENDLESS_RUN, tiny_file],
        env={**os.environ, "PYTHONPATH": search},
        stderr=subprocess.DEVNULL,
    )
    try:
        await_true(lambda: number.exists() and number.read_text().endswith("."))
        worker = Path("/proc", number.read_text()[:-1])
        assert worker.exists()
        parent.send_signal(getattr(signal, ending))
        parent.wait(timeout=20)
        await_true(lambda: not worker.exists() or " Z " in (worker / "stat").read_text())
    finally:
        parent.kill()
        parent.wait()


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
