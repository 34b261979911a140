"""`albert_edge.benchmark.devices.ssh`: real servers on loopback, and every kind of failure."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

import albert_edge
from albert_edge.benchmark import boards, run
from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.benchmark.devices import ssh
from albert_edge.benchmark.devices.device import Local, open_device
from albert_edge.benchmark.devices.ssh import Ssh
from albert_edge.benchmark.measure import measure
from albert_edge.conversion import convert
from albert_edge.errors import AlbertEdgeError, BundleError, DeviceError
from albert_edge.modeling import load_keras
from benchmark.devices.samples import (
    EITHER_SERVER,
    ENDLESS,
    Addresses,
    await_clean,
    await_true,
)
from benchmark.devices.servers import HOST, Server
from benchmark.samples import BRIEF
from rigs import edgetpu_delegate
from rigs.swiftshader import RIG, environment


@EITHER_SERVER
def test_models_are_measured_there_by_the_package_that_runs_here(
    friends: Server, make_address: Addresses, tiny_file: Path, folder_there: Path
) -> None:
    report = run.benchmark(
        [tiny_file],
        settings=BenchmarkConfig(rounds=2, seq_lens=(8, 16), **BRIEF),
        device=make_address(),
        progress=Progress(disable=True),
    )
    assert [row["status"] for row in report["rows"]] == ["ok", "ok"]
    assert [len(row["rounds"]) for row in report["rows"]] == [2, 2]
    assert report["device"] == make_address()
    assert report["machine"]["versions"]["albert_edge"] == albert_edge.__version__
    assert not list(folder_there.iterdir())


def test_the_gpu_is_that_of_the_device(
    friends: Server,
    make_address: Addresses,
    tiny_gpu: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    RIG.require()
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_gpu())
    variables = environment()
    there = "".join(f"export {name}={shlex.quote(one)}\n" for name, one in variables.items())
    missing = "export VK_ICD_FILENAMES=/nonexistent.json VK_DRIVER_FILES=/nonexistent.json\n"
    with_gpu, without = (
        run.benchmark(
            [path],
            settings=BenchmarkConfig(rounds=1, accelerators=("gpu",), **BRIEF),
            device=make_address(f'{variables}exec "$PYTHON" "$@"'),
            progress=Progress(disable=True),
        )["rows"]
        for variables in (there, missing)
    )
    assert [row["error"] for row in with_gpu] == [None, None]
    assert all("SwiftShader" in row["acceleration"]["device"] for row in with_gpu)
    assert all("LiteRT finds no GPU" in row["error"]["message"] for row in without)


def test_the_edge_tpu_is_that_of_the_device_and_the_whole_folder_is_copied(
    friends: Server, make_address: Addresses, tmp_path: Path
) -> None:
    folder = tmp_path / "products"
    model = load_keras("default")
    convert(model, target="edgetpu", seq_len=16, verified=False).save(folder)
    for path in folder.glob("*_16.tflite"):
        edgetpu_delegate.forge_file(path)
    library = shlex.quote(str(edgetpu_delegate.RIG.require() / edgetpu_delegate.NAME))
    address = make_address(f'export ALBERT_EDGE_EDGETPU_LIBRARY={library}; exec "$PYTHON" "$@"')
    accelerators = ("cpu", "edgetpu:0", "edgetpu:pci")
    settings = BenchmarkConfig(accelerators=accelerators, rounds=1, seq_lens=(16,), **BRIEF)
    report = run.benchmark(
        [folder], settings=settings, device=address, progress=Progress(disable=True)
    )
    on_cpu, on_chip, missing = report["rows"]
    assert on_cpu["status"] == on_chip["status"] == "ok", (on_cpu["error"], on_chip["error"])
    assert on_chip["outputs_sha256"] == on_cpu["outputs_sha256"]
    assert on_chip["products"]["calls"] == 4 * on_chip["layers_used"]
    assert "finds no Edge TPU on PCIe" in missing["error"]["message"]


def test_only_the_modules_of_the_worker_are_copied_and_they_time_a_whole_pipeline(
    device: Ssh, folder_there: Path
) -> None:
    (package,) = folder_there.glob("*/package/albert_edge")
    here = Path(albert_edge.__file__).parent
    folders = {"benchmark", "bundle", "pipelines", "runtime", "tokenizer"}
    copied = {path.relative_to(package) for path in package.rglob("*.py")}
    assert folders <= {path.parts[0] for path in copied}
    assert not {"cli", "checkpoints", "training"} & {path.parts[0] for path in copied}
    # Every pipeline, though only that of the file's task is used, and not what searches lines.
    assert {path.name for path in here.glob("pipelines/*.py")} - {"nearest.py"} == {
        path.name for path in package.glob("pipelines/*.py")
    }
    text = {"text": "a quiet, moving film"}
    measured = measure(here / "models/sentiment/model.tflite", device=device, text=text, **BRIEF)
    assert measured.text_samples_ns


def test_a_file_is_copied_once_to_a_private_folder_which_goes(
    device: Ssh, tmp_path: Path, folder_there: Path
) -> None:
    (tmp_path / "a").mkdir()
    names = ["one.tflite", "a/one.tflite", "empty", "模型 $(x)\n'\udcff", "long" * 60]
    paths = [tmp_path / name for name in names]
    contents = [os.urandom(3_000_001), b"2", b"", b"odd", b"\n{}\n"]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    sent = [Path(device.send(path)) for path in paths]
    assert [path.read_bytes() for path in sent] == contents
    assert [device.send(path) for path in paths] == [str(path) for path in sent]
    (folder,) = folder_there.iterdir()
    assert {path.parent for path in sent} == {folder}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(folder.iterdir())) == len(names) + 1  # and the package
    device.close()
    assert not list(folder_there.iterdir())
    device.close()  # once more does no harm


def test_an_error_of_the_worker_is_raised_on_the_host(device: Ssh, tmp_path: Path) -> None:
    picture = tmp_path / "picture.tflite"
    picture.write_bytes(b"\x89PNG")
    with pytest.raises(BundleError, match=r"picture\.tflite"):
        measure(picture, device=device)
    assert device.run({"do": "describe"}, timeout_s=60)["cores"] >= 1


def test_a_worker_that_takes_too_long_is_ended_and_the_next_one_runs(
    device: Ssh, tiny_file: Path
) -> None:
    with pytest.raises(DeviceError, match=r"tiny\.tflite on ssh://.* took over 1 s"):
        measure(tiny_file, device=device, timeout_s=1.0, **ENDLESS)
    assert measure(tiny_file, device=device, seq_len=8, **BRIEF).samples_ns


@EITHER_SERVER
def test_a_broken_connection_ends_the_worker_and_cleans_up(
    device: Ssh, friends: Server, tiny_file: Path, folder_there: Path
) -> None:
    threading.Timer(0.5, friends.drop).start()
    with pytest.raises(DeviceError, match=r"ssh://.* is lost \(.+\)\. .*--resume continues"):
        measure(tiny_file, device=device, **ENDLESS)
    with pytest.raises(DeviceError, match="is lost"):  # at once, and for the same reason
        device.run({"do": "describe"}, timeout_s=60)
    await_clean(folder_there)  # it waits for the worker before


def test_what_was_measured_before_the_connection_broke_is_kept_and_goes_on(
    friends: Server, make_address: Addresses, tiny_file: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "report.json"

    def benchmark() -> dict[str, Any]:
        return run.benchmark(
            [tiny_file],
            settings=BenchmarkConfig(rounds=3, seq_lens=(8, 16), **BRIEF),
            device=make_address(),
            json_path=kept,
            resume=True,
            progress=Progress(disable=True),
        )

    def drop() -> None:
        await_true(lambda: kept.exists() and '"latency_ms"' in kept.read_text(), "no round")
        friends.drop()

    threading.Thread(target=drop).start()
    report = benchmark()
    assert [row["error"]["type"] for row in report["rows"]] == ["DeviceError"] * 2
    assert 1 <= sum(len(row.get("rounds", ())) for row in report["rows"]) < 6
    assert json.loads(kept.read_text())["complete"]
    again = benchmark()
    assert [(row["status"], len(row["rounds"])) for row in again["rows"]] == [("ok", 3)] * 2


def test_two_devices_are_measured_side_by_side_and_one_that_dies_ends_only_itself(
    friends: Server, make_address: Addresses, tiny_file: Path, tmp_path: Path
) -> None:
    number, kept = tmp_path / "number", tmp_path / "boards.json"
    well = make_address(name="well")
    dying = make_address(f'echo $$ > {number}\nexec "$PYTHON" "$@"', name="dying")

    def benchmark() -> dict[str, Any]:
        return boards.benchmark_boards(
            [tiny_file],
            devices=[dying, well],
            settings=BenchmarkConfig(rounds=3, seq_lens=(8, 16), **BRIEF),
            json_path=kept,
            resume=True,
            progress=Progress(disable=True),
        )

    def rounds(document: dict[str, Any], index: int) -> int:
        section = document["boards"][index]["report"]
        return sum(len(row.get("rounds", ())) for row in section["rows"])

    def kill() -> None:
        while not finished.wait(0.02):
            if kept.exists() and rounds(json.loads(kept.read_text()), 0):
                os.kill(int(number.read_text()), signal.SIGKILL)
                return

    finished, killer = threading.Event(), threading.Thread(target=kill)
    killer.start()
    report = benchmark()
    finished.set()
    killer.join()
    first, second = (section["report"] for section in report["boards"])
    assert [row["error"]["type"] for row in first["rows"]] == ["DeviceError"] * 2
    assert "is lost" in first["rows"][0]["error"]["message"]
    assert 1 <= rounds(report, 0) < rounds(report, 1) == 6
    assert [row["status"] for row in second["rows"]] == ["ok", "ok"]
    assert boards.read_any_report(kept) == report
    with pytest.raises(DeviceError, match=r"1 of 2 devices .*\n  ssh://.*dying"):
        boards.raise_on_any_failure(report)
    again = benchmark()  # --resume: only what is missing
    boards.raise_on_any_failure(again)
    assert again["boards"][1] == report["boards"][1]


def test_two_ways_to_one_machine_are_known_as_such(device: Ssh) -> None:
    assert device.machine_id() == Local().machine_id()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_control_c_and_even_a_killed_process_leave_nothing_there(
    ending: signal.Signals,
    friends: Server,
    make_address: Addresses,
    tiny_file: Path,
    folder_there: Path,
) -> None:
    program = "from albert_edge.cli import main; main()"
    options = ["--seq-len", "8", "--min-time", "999", "--device", make_address()]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "benchmark", tiny_file, *options],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        await_true(lambda: list(folder_there.glob("*/0-tiny.tflite")), "nothing was sent")
        os.killpg(process.pid, ending)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    await_clean(folder_there)
    assert "Traceback" not in errors
    assert process.returncode == (130 if ending == signal.SIGINT else -ending)


def test_a_device_that_hangs_is_an_error(
    friends: Server,
    make_address: Addresses,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = tmp_path / "number"
    device = open_device(make_address(f'echo $$ > {number}\nexec "$PYTHON" "$@"'))
    monkeypatch.setattr(ssh, "_GRACE_S", 0.2)
    agent = int(number.read_text())
    os.kill(agent, signal.SIGSTOP)
    try:
        with pytest.raises(DeviceError, match=r"is lost \(no reply within 0\.\d+ s\)"):
            device.run({"do": "describe"}, timeout_s=0.1)
        device.close()
    finally:
        os.kill(agent, signal.SIGCONT)


# In a mount namespace of its own, so that nothing is to be unmounted.
FULL = 'exec unshare -rm sh -c \'mount -t tmpfs -o size={size} - "$TMPDIR" && exec "$@"\' - '


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (FULL.format(size="6m"), "No space left on device"),
        ("ulimit -f 8192\nexec ", "File too large"),
    ],
)
def test_a_file_without_room_there_fails_alone(
    script: str, message: str, friends: Server, make_address: Addresses, tmp_path: Path
) -> None:
    if "unshare" in script and subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    large, small = tmp_path / "large.tflite", tmp_path / "small.tflite"
    large.write_bytes(bytes(9_000_000))
    small.write_bytes(b"small")
    device = open_device(make_address(f'{script}"$PYTHON" "$@"'))
    expected = (
        rf"cannot copy 0-large\.tflite \(9\.0 MB\) there: {message}.* MB free in .*free some space"
    )
    for _ in range(2):
        with pytest.raises(DeviceError, match=expected):
            device.send(large)
    assert device.send(small).endswith("/1-small.tflite")
    assert device.run({"do": "describe"}, timeout_s=60)["cores"] >= 1
    device.close()


def test_no_room_for_the_package(
    friends: Server, make_address: Addresses, folder_there: Path
) -> None:
    address = make_address('ulimit -f 20\nexec "$PYTHON" "$@"')
    with pytest.raises(DeviceError, match=r"cannot copy package\.zip .*: File too large"):
        open_device(address)
    await_clean(folder_there)
    with pytest.raises(DeviceError, match="cannot create a temporary folder"):
        open_device(make_address('ulimit -f 0\nexec "$PYTHON" "$@"'))


OLD = "import sys; sys.version_info = (3, 8, 2); sys.version = '3.8.2 (x)'; exec(sys.argv[1])"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (f'exec "$PYTHON" -c "{OLD}" "$2"', r"co: exit code 1: Python 3\.8\.2 is too old, 3\.10"),
        ('exec cat "$@"', "exit code 1: .*cat"),
        ("echo No account.; exit 1", r"exit code 1: No account\.\nInstall Python"),
        ("exit 0", "exit code 0"),
        ("echo Killed >&2; kill -9 $$", "(killed by SIGKILL|exit code 137): Killed"),
        ("exit 127", r"there is no .* co on ssh://[^?]*: install Python 3\.10"),
    ],
)
def test_no_python_there(
    script: str, message: str, friends: Server, make_address: Addresses
) -> None:
    with pytest.raises(DeviceError, match=message):
        open_device(make_address(script))


def test_a_python_without_the_packages(friends: Server, home: Path, bare_python: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        open_device(f"ssh://{HOST}:{friends.port}?python={bare_python}")
    text = str(caught.value)
    assert f"{bare_python}: Python 3." in text
    assert "lacks ai-edge-litert, numpy, sentencepiece" in text
    install = f"{bare_python} -m pip install ai-edge-litert numpy sentencepiece"
    assert f"Install them: ssh -p {friends.port} {HOST} '{install}'" in text
    assert f"{bare_python} -m venv venv && venv/bin/pip install ai-edge-litert numpy" in text
    assert f"--device 'ssh://{HOST}:{friends.port}?python=~/venv/bin/python'" in text


def test_a_worker_that_writes_something_else(
    friends: Server, make_address: Addresses, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello from this board', flush=True)")
    device = open_device(make_address(f'export PYTHONPATH={tmp_path}\nexec "$PYTHON" "$@"'))
    with pytest.raises(
        DeviceError, match=r"exit code 0; its last output was:\n  hello from this board"
    ):
        device.run({"do": "describe"}, timeout_s=60)
    device.close()


def test_a_file_that_arrives_damaged_is_an_error() -> None:
    class Noisy:
        def request(self, request: dict[str, Any], *, blob: bytes = b"") -> dict[str, Any]:
            return {"path": "/there", "sha256": "0" * 64}

    with pytest.raises(DeviceError, match=r"package\.zip arrived damaged on ssh://noisy"):
        Ssh("ssh://noisy", Noisy())  # type: ignore[arg-type]


class Agent:
    """A connection to an agent that returns a given reply to `run`."""

    folder = "/there"

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def request(
        self, request: dict[str, Any], *, blob: bytes = b"", timeout_s: float | None = None
    ) -> dict[str, Any]:
        if request["do"] == "put":
            return {"path": "/there/x", "sha256": hashlib.sha256(blob).hexdigest()}
        reply: dict[str, Any] = self._reply if request["do"] == "run" else {}
        return reply


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"returncode": 0},
        {"returncode": "0", "stdout": "{}", "stderr": ""},
        {"returncode": 0, "stdout": None, "stderr": ""},
        {"returncode": -999, "stdout": "x", "stderr": ""},
        {"returncode": 0, "stdout": "[" * 200_000, "stderr": "\udcff"},
        {"returncode": 1, "stdout": '{"error": [1]}', "stderr": ""},
        {"returncode": 1, "stdout": '{"error": "InputError", "message": {}}', "stderr": ""},
        {"timeout": True},
        {"error": "no", "free_bytes": None},
    ],
)
def test_a_run_with_another_reply_is_one_of_our_errors(reply: dict[str, Any]) -> None:
    device = Ssh("ssh://board", Agent(reply))  # type: ignore[arg-type]
    with pytest.raises(AlbertEdgeError):
        device.run({"do": "describe"}, timeout_s=1)
