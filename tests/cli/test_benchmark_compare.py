"""`albert-edge benchmark --html`, `--from` and `--compare` as people use them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from albert_edge import cli

BRIEF = ("--rounds", "2", "--runs", "3", "--min-time", "0", "--seq-len", "8")


def albert_edge(*args: object) -> Result:
    return CliRunner().invoke(cli._group, ["benchmark", *map(str, args)])


@pytest.fixture(scope="module")
def folder(tiny_tflite: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file, its report and its page, as one run left them."""
    folder = tmp_path_factory.mktemp("pages")
    tiny = folder / "tiny.tflite"
    tiny.write_bytes(tiny_tflite())
    report, page = folder / "report.json", folder / "page.html"
    done = albert_edge(tiny, *BRIEF, "--json", report, "--html", page)
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
    done = albert_edge(tmp_path / "missing.tflite", *BRIEF, "--html", page)
    assert done.exit_code == 1
    assert "Failed" in page.read_text(encoding="utf-8")


def test_a_name_that_is_no_unicode_is_printed_and_written(tmp_path: Path) -> None:
    odd, page = tmp_path / "caf\udce9.tflite", tmp_path / "page.html"
    arguments = ["benchmark", odd, *BRIEF, "--html", page]
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
def test_one_clear_error(
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
