"""`albert-edge benchmark` as people use it: streams, files and exit codes."""

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
from click.testing import CliRunner, Result

from albert_edge import cli

BRIEF = ("--rounds", "1", "--runs", "1", "--min-time", "0", "--seq-len", "8")


def albert_edge(*args: object) -> Result:
    return CliRunner().invoke(cli._group, ["benchmark", *map(str, args)])


@pytest.fixture(scope="module")
def tiny(tiny_tflite: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "tiny.tflite"
    path.write_bytes(tiny_tflite())
    return path


def test_a_table_for_people_and_nothing_else_on_the_terminal(tiny: Path) -> None:
    done = albert_edge(tiny, *BRIEF)
    assert done.exit_code == 0
    assert "8 tokens" in done.stdout
    assert "unrepeated" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("option", [["--json"], ["--json", "-"], ["--json=-"]])
def test_json_is_one_document_on_standard_output(option: list[str], tiny: Path) -> None:
    done = albert_edge(tiny, *BRIEF, "--threads", "1,2", *option)
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert [row["threads"] for row in report["rows"]] == [1, 2]


def test_json_in_a_file_comes_beside_the_table(tiny: Path, tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    done = albert_edge(tiny, *BRIEF, "--json", kept)
    assert "8 tokens" in done.stdout
    assert json.loads(kept.read_text())["complete"]
    refused = albert_edge(tiny, *BRIEF, "--json", kept)
    assert refused.exit_code == 1
    assert "exists; give --force" in refused.stderr
    assert albert_edge(tiny, *BRIEF, "--json", kept, "--resume").exit_code == 0
    assert albert_edge(tiny, *BRIEF, "--json", kept, "--force").exit_code == 0


def test_what_fails_is_named_once_and_the_rest_is_shown(tiny: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.tflite"
    done = albert_edge(missing, tiny, *BRIEF)
    assert done.exit_code == 1
    assert "error missing" in done.stdout
    assert "tiny" in done.stdout
    assert done.stderr.startswith("albert-edge: 1 of 2 failed, 0 have wrong outputs:")
    assert done.stderr.count("cannot read") == 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (
            ["--threads", "one"],
            2,
            "'one' is not a comma-separated list of whole numbers, such as 1,2",
        ),
        (["--seq-len", "8,"], 2, "'8,' is not a comma-separated list of whole numbers"),
        (["--resume"], 2, "--resume needs --json F"),
        (["--json", "-", "--resume"], 2, "--resume needs --json F"),
        (["--threads", "0"], 1, "must be at least 1"),
        (["--rounds", "0"], 1, "must be at least 1"),
        (["--accelerator", "npu"], 1, "unknown accelerator 'npu'; choose from cpu"),
        (["--device", "moon://base"], 1, "unknown device 'moon://base'; choose from"),
        (["--json", "no/such/folder.json"], 1, "does not exist"),
    ],
)
def test_one_clear_error(args: list[str], code: int, message: str, tiny: Path) -> None:
    done = albert_edge(tiny, *args)
    assert done.exit_code == code
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_without_a_file_it_says_how_it_is_used() -> None:
    assert albert_edge().exit_code == 2


def test_control_c_keeps_what_was_measured(tiny: Path, tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    arguments = ["benchmark", tiny, "--rounds", "99", "--runs", "1", "--min-time", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from albert_edge.cli import main; main()"]
        + [str(one) for one in [*arguments, "--seq-len", "8", "--json", kept]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Control-C reaches the whole group, the worker too
    )
    try:
        deadline = time.monotonic() + 120
        while not kept.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "interrupted" in errors
    assert "--resume continues" in errors
    assert "Traceback" not in errors
    report = json.loads(kept.read_text())
    assert not report["complete"]
    assert 1 <= len(report["rows"][0]["rounds"]) < 99


def test_measuring_needs_no_tensorflow(tiny: Path) -> None:
    code = (
        "import sys; from albert_edge.cli import main\n"
        f"sys.argv = ['albert-edge', 'benchmark', {str(tiny)!r}, *{BRIEF!r}, '--json']\n"
        "sys.modules.update(dict.fromkeys(['tensorflow', 'tf_keras', 'h5py', 'safetensors']))\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["status"] == "ok"
