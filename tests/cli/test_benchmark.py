"""`albert-edge benchmark` as people use it: streams, files, pages, comparisons and exit codes."""

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
from albert_edge.benchmark.devices.device import Local

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
    assert process.returncode == 130
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


TWO_ROUNDS = ("--rounds", "2", "--runs", "3", "--min-time", "0", "--seq-len", "8")


@pytest.fixture(scope="module")
def folder(tiny_tflite: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file, its report and its page, as one run left them."""
    folder = tmp_path_factory.mktemp("pages")
    tiny = folder / "tiny.tflite"
    tiny.write_bytes(tiny_tflite())
    report, page = folder / "report.json", folder / "page.html"
    done = albert_edge(tiny, *TWO_ROUNDS, "--json", report, "--html", page)
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def slower(folder: Path, tmp_path: Path) -> Path:
    """The same report, but everything took 100 times as long."""
    text = (folder / "report.json").read_text()
    report = json.loads(text)
    for row in report["rows"]:
        for one in (row, *row["rounds"]):
            one["latency_ms"] *= 100
    path = tmp_path / "slower.json"
    path.write_text(json.dumps(report))
    return path


def test_measuring_writes_the_page_that_the_report_gives_again(
    folder: Path, tmp_path: Path
) -> None:
    page = folder / "page.html"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    again = tmp_path / "again.html"
    done = albert_edge("--from", folder / "report.json", "--html", again)
    assert done.exit_code == 0
    assert "8 tokens" in done.stdout
    assert again.read_bytes() == page.read_bytes()


def test_a_page_is_written_of_what_failed_too(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = albert_edge(tmp_path / "missing.tflite", *TWO_ROUNDS, "--html", page)
    assert done.exit_code == 1
    assert "Failed" in page.read_text(encoding="utf-8")


def test_a_name_that_is_no_unicode_is_printed_and_written(tmp_path: Path) -> None:
    odd, page = tmp_path / "caf\udce9.tflite", tmp_path / "page.html"
    arguments = ["benchmark", odd, *TWO_ROUNDS, "--html", page]
    done = subprocess.run(
        [sys.executable, "-c", "from albert_edge.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert "caf\\udce9" in done.stdout.decode()
    assert "caf\\udce9.tflite" in page.read_text(encoding="utf-8")


def test_comparing_says_what_changed(folder: Path, slower: Path) -> None:
    report = folder / "report.json"
    done = albert_edge("--compare", report, report)
    assert done.exit_code == 0
    assert "1 configuration compared: 1 same." in done.stdout
    done = albert_edge("--compare", report, slower)
    assert done.exit_code == 0
    assert "×100" in done.stdout


def test_a_regression_fails_if_asked_to(folder: Path, slower: Path) -> None:
    old = json.loads((folder / "report.json").read_text())
    for row in old["rows"]:  # so that the noise of this machine hides nothing
        for one in row["rounds"]:
            one["latency_ms"] = row["latency_ms"]
    quiet, later = slower.with_name("quiet.json"), slower.with_name("later.json")
    quiet.write_text(json.dumps(old))
    for row in old["rows"]:
        for one in (row, *row["rounds"]):
            one["latency_ms"] *= 100
    later.write_text(json.dumps(old))
    assert albert_edge("--compare", quiet, later).exit_code == 0
    done = albert_edge("--compare", quiet, later, "--fail-on-regression")
    assert done.exit_code == 1
    assert "1 of 1 got worse:\n  tiny (cpu, 1 thread, T=8): latency_ms ×100" in done.stderr
    assert albert_edge("--compare", later, quiet, "--fail-on-regression").exit_code == 0


@pytest.mark.parametrize("option", [["--json"], ["--json", "-"]])
def test_the_comparison_as_json(option: list[str], folder: Path, slower: Path) -> None:
    done = albert_edge("--compare", folder / "report.json", slower, *option)
    found = json.loads(done.stdout)
    assert found["schema"] == "albert_edge.comparison/1"
    assert found["rows"][0]["changes"]["latency_ms"]["ratio"] == pytest.approx(100)
    kept = slower.with_name("kept.json")
    done = albert_edge("--compare", folder / "report.json", slower, "--json", kept)
    assert json.loads(kept.read_text()) == found
    assert "×100" in done.stdout


def test_two_files_are_called_in_turns(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = albert_edge("--compare", tiny, "default", *BRIEF[:-2], "--seq-len", "8,16")
    assert done.exit_code == 0, done.stderr
    assert "2 configurations compared: 2 unknown." in done.stdout
    assert "called in turns in the same processes" in done.stdout
    kept = tmp_path / "kept.json"
    strict = ("--fail-on-regression", "--json", kept, "--rounds", "5", *BRIEF[2:])
    # On a busy machine no interval is certain to exclude 1.
    monkeypatch.setattr(Local, "run", lambda *_, **__: {"samples_ns": [[1], [2]]})
    done = albert_edge("--compare", tiny, "default", *strict)
    assert done.exit_code == 1
    assert "1 of 1 got worse:" in done.stderr
    assert json.loads(kept.read_text())["rows"][0]["verdict"] == "worse"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--html", "F"], 2, "name at least one MODEL, or give --from or --compare"),
        (["tiny", "--fail-on-regression"], 2, "--fail-on-regression needs --compare"),
        (["--from", "report", "tiny"], 2, "MODEL cannot be combined with --from"),
        (["--from", "report", "--threads", "2"], 2, "--threads cannot be combined with --from"),
        (
            ["--compare", "report", "report", "--html", "F"],
            2,
            "--html cannot be combined with --compare",
        ),
        (
            ["--compare", "report", "report", "--from", "report"],
            2,
            "cannot be combined with --compare",
        ),
        (["--compare", "tiny", "default", "--accelerator", "gpu"], 2, "--accelerator cannot be"),
        (["--compare", "report", "report", "--threads", "2"], 2, "--threads cannot be combined"),
        (["--compare", "tiny", "default", *2 * ("--device", "local")], 2, "takes one --device"),
        (["--compare", "tiny", "default", "--device", "qemu://x"], 1, "here or over SSH, not on"),
        (["--compare", "tiny", "tiny"], 1, "is named twice"),
        (["--compare", "default", "no.tflite"], 1, "cannot read no.tflite: No such file"),
        (["--from", "report", "--html", "report", "--force"], 1, "one of the other files given"),
        (["tiny", "--html", "tiny", "--force"], 1, "one of the other files given"),
        (["tiny", "--json", "F", "--html", "F"], 1, "one of the other files given"),
        (["--compare", "report", "report", "--json", "report", "--force"], 1, "of the other files"),
        (["tiny", "--html", "page"], 1, "exists; give --force"),
        (["--from", "no", "--html", "F"], 1, "cannot read no: No such file"),
        (["--compare", "report", "tiny"], 1, "tiny.tflite is not JSON"),
        (["--compare", "older", "report"], 1, "is written in albert_edge.benchmark/1, and this"),
        (["--from", "damaged"], 1, "damaged.json is damaged: report lacks kind"),
    ],
)
def test_one_clear_error_about_reports(
    args: list[str], code: int, message: str, folder: Path, tmp_path: Path
) -> None:
    older, damaged = tmp_path / "older.json", tmp_path / "damaged.json"
    older.write_text('{"schema": "albert_edge.benchmark/1"}')
    damaged.write_text('{"schema": "albert_edge.benchmark/3", "rows": [1]}')
    files = {
        "tiny": folder / "tiny.tflite",
        "report": folder / "report.json",
        "page": folder / "page.html",
        "older": older,
        "damaged": damaged,
        "F": tmp_path / "new",
    }
    before = {path: path.read_bytes() for path in files.values() if path.exists()}
    done = albert_edge(*(files.get(one, one) for one in args))
    assert done.exit_code == code
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in files.values() if path.exists()} == before
