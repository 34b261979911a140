"""`albert-edge evaluate`: figures, saved predictions, and one clear error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from albert_edge import cli

ROWS = ("a quiet, moving film\t1", "dull from beginning to end\t0", "i loved every minute\t1")


def albert_edge(*args: object) -> Result:
    return CliRunner().invoke(cli._group, ["evaluate", *map(str, args)])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.tsv"
    path.write_text("text\tlabel\n" + "\n".join(ROWS) + "\n")
    return path


def test_prints_the_metrics_and_their_intervals(table: Path) -> None:
    done = albert_edge("default", table)
    assert done.exit_code == 0, done.stderr
    for part in ("classification, 3 examples", "accuracy", "f1", "matthews", "95% interval"):
        assert part in done.stdout
    assert "default, " in done.stdout
    assert done.stderr == ""  # no progress where there is no terminal


def test_prints_one_document(table: Path) -> None:
    report = json.loads(albert_edge("default", table, "--json", "--limit", 2).stdout)
    assert report["examples"] == 2
    assert set(report["models"][0]["metrics"]) == {"accuracy", "f1", "matthews"}


def test_saves_and_compares(table: Path, tmp_path: Path) -> None:
    saved = tmp_path / "answers.json"
    assert albert_edge("default", table, "--predictions", saved).exit_code == 0
    answers = json.loads(saved.read_text())
    assert list(answers["predictions"]) == ["1", "2", "3"]
    done = albert_edge("default", table, "--predictions", saved)
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert albert_edge("default", table, "--predictions", saved, "--force").exit_code == 0
    done = albert_edge("default", table, "--against", saved)
    assert done.exit_code == 0, done.stderr
    for part in ("B - A", "1 (mcnemar)", "same prediction for 100.00%", "saved predictions"):
        assert part in done.stdout


def test_says_what_was_left_out(tmp_path: Path) -> None:
    questions = [
        {"id": "a", "question": "What fell?", "answers": [{"text": "the mill"}]},
        {"id": "b", "question": "Who?", "answers": []},
        {"id": "c", "question": "When?", "answers": []},
    ]
    paragraphs = [{"context": "The mill fell.", "qas": questions}]
    data, answers = tmp_path / "squad.json", tmp_path / "answers.json"
    data.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    answers.write_text('{"a": "Mill", "b": "The mill", "c": "mill"}')
    (tmp_path / "answers.null_odds.json").write_text('{"a": 0.5, "b": 1.5, "c": 2.5}')
    shown = albert_edge(answers, data).stdout
    assert "66.67%" in shown
    assert "best exact 100.00%, with --null-threshold 0.5000" in shown
    assert "100.00%" in albert_edge(answers, data, "--null-threshold", 1).stdout
    answers.write_text('{"a": "Mill"}')
    (tmp_path / "answers.null_odds.json").unlink()
    assert "2 questions have no prediction and count as wrong" in albert_edge(answers, data).stdout
    questions.pop(0)
    data.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    answers.write_text('{"b": "Mill", "c": ""}')
    assert "HasAns" not in albert_edge(answers, data).stdout


def test_undefined_figures_are_said(tmp_path: Path) -> None:
    saved = {"kind": "regression", "labels": ["x"], "predictions": {"1": [1], "2": [1]}}
    (tmp_path / "p.json").write_text(json.dumps(saved))
    (tmp_path / "d.tsv").write_text("text\tlabel\na\t1\nb\t2\n")
    done = albert_edge(tmp_path / "p.json", tmp_path / "d.tsv", "--against", tmp_path / "p.json")
    assert done.exit_code == 0, done.stderr
    assert "undefined" in done.stdout
    assert "0.5000" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label-column", "stars"], "must name one column stars; it has: text, label"),
        (["--limit", 0], "limit must be a whole number of at least 1, not 0"),
        (["--predictions", "answers.txt"], "must end in .json"),
    ],
)
def test_what_is_wrong_is_one_line(table: Path, options: list[object], message: str) -> None:
    done = albert_edge("default", table, *options)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_needs_no_tensorflow(table: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['nltk'] = None\n"
        "from albert_edge.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", "default", str(table), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["examples"] == 3
    assert done.stderr == ""
