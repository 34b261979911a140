"""`albert-edge finetune`: what it trains, and what it reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from albert_edge.cli.finetune import command

ROWS = "text\tlabel\n" + "a fine film\t1\na dull film\t0\n" * 8
SHAPE = {
    "vocab_size": 40,
    "embedding_size": 16,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}


def _albert_edge(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from albert_edge.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )


def test_trains_and_reports(tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text(ROWS)
    (tmp_path / "shape.json").write_text(json.dumps(SHAPE))
    done = _albert_edge(
        *("finetune", "data.tsv", "-o", "model", "--config", "shape.json", "--dev", "data.tsv"),
        *("--labels", "negative,positive", "--epochs", "2", "--max-length", "16", "--json"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress where there is no terminal, and no chatter of TensorFlow
    report = json.loads(done.stdout)
    assert report["labels"] == ["negative", "positive"]
    assert [epoch["epoch"] for epoch in report["epochs"]] == [1, 2]
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "spiece.model",
        "tokenizer_config.json",
    }


def test_the_summary_gives_the_official_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.conll").write_text("Ada B\nsaw O\n\n" * 8)
    Path("shape.json").write_text(json.dumps(SHAPE))
    arguments = (
        *("words.conll", "-o", "model", "--config", "shape.json", "--epochs", "1"),
        *("--dev", "words.conll", "--max-length", "4", "--sampling", "1"),
    )
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert ", dev f1 " in done.stdout
    assert "; 8 examples were truncated" in done.stdout


def test_bad_data_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text("text\tlabel\na film\t1\n")
    done = _albert_edge("finetune", "data.tsv", "-o", "model", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "albert-edge: data.tsv: expected two distinct labels or more, got ['1']."
    ]
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_brings_its_own_shape() -> None:
    result = CliRunner().invoke(command, ["d.tsv", "-o", "m", "--from", "x", "--config", "c.json"])
    assert result.exit_code == 2
    assert "--from sets the model's configuration; leave out --config" in result.output


def test_a_training_that_diverges_says_so(tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text(ROWS)
    (tmp_path / "shape.json").write_text(json.dumps(SHAPE))
    fit = ("finetune", "data.tsv", "-o", "model", "--config", "shape.json", "--max-length", "16")
    done = _albert_edge(*fit, "--learning-rate", "20", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    summary, diverged, *_, advice = done.stdout.splitlines()
    assert summary.startswith("model: ")
    assert diverged.startswith("warning: the training diverged: its loss is ")
    assert advice == "warning: train again with a lower learning rate; it was 20."
