"""`albert-edge pretrain` as people use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from albert_edge import cli
from language import SHAPE, language

SHORT = (
    *("--config", "shape.json", "--steps", "2", "--batch-size", "4", "--max-length", "24"),
    *("--examine-every", "1", "--mixed-precision", "off"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a text and a shape."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("\n\n".join("\n".join(one) for one in language(40)))
    Path("shape.json").write_text(json.dumps({"model_type": "albert", **SHAPE}))
    return tmp_path


def _pretrain(*arguments: str) -> Result:
    return CliRunner().invoke(cli._group, ["pretrain", *arguments])


def test_help_has_examples() -> None:
    shown = _pretrain("--help").output
    assert shown.count("albert-edge pretrain ") >= 4
    assert "--resume" in shown
    assert "[default: lamb]" in shown


def test_a_vocabulary_is_trained_and_figures_are_shown(folder: Path) -> None:
    done = _pretrain("text.txt", "-o", "model", "--dev", "text.txt", *SHORT)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""  # no progress where there is no terminal
    first, *rest = done.stdout.splitlines()
    assert first.startswith("model: ")
    assert "2 steps over" in first
    assert [line.split()[0] for line in rest] == ["train", "held_out"]
    assert all("masked words" in line and "sentence order" in line for line in rest)
    assert {path.name for path in (folder / "model").iterdir()} == {
        *("config.json", "curve.jsonl", "logs", "model.safetensors"),
        *("spiece.model", "tokenizer_config.json"),
    }


def test_json_is_one_document_and_a_checkpoint_can_go_on(folder: Path) -> None:
    done = _pretrain("text.txt", "-o", "model", *SHORT, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["output"] == "model"
    assert [point["step"] for point in report["curve"]] == [1, 2]
    assert "held_out" not in report["curve"][0]
    again = _pretrain("text.txt", "-o", "again", "--from", "./model", *SHORT[2:], "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["drawn"] == []


def test_an_absurd_learning_rate_is_named(folder: Path) -> None:
    done = _pretrain("text.txt", "-o", "model", *SHORT, "--learning-rate", "1e25")
    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("albert-edge: the training diverged: at step 2")
    assert "lower the learning rate" in line
    assert not (folder / "model" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere.txt", "-o", "model"), 1, "cannot read nowhere.txt"),
        (("empty.txt", "-o", "model"), 1, "empty.txt holds no document of two sentences"),
        (("text.txt", "-o", "no/model"), 1, "the directory no does not exist"),
        (("text.txt", "-o", "full"), 1, "exists; give --force"),
        (("text.txt", "-o", "model", "--resume"), 1, "there is no training to resume"),
        (
            ("text.txt", "-o", "model", "--resume", "--force"),
            1,
            "give --resume to continue a training or --force to restart it",
        ),
        (("text.txt", "-o", "model", "--max-length", "1000"), 1, "must be at most 512"),
        (("text.txt", "-o", "model", "--batch-size", "9", "--accumulate", "2"), 1, "a multiple of"),
        (("text.txt", "-o", "model", "--learning-rate", "0"), 1, "must be above 0"),
        (("text.txt",), 2, "Missing option '-o'"),
        (("-o", "model"), 2, "Missing argument 'TEXTS...'"),
        (
            ("text.txt", "-o", "model", "--from", "x", "--config", "shape.json"),
            2,
            "--from sets the",
        ),
        (
            ("text.txt", "-o", "model", "--from", "x", "--cooccurrence"),
            2,
            "--from sets the model's",
        ),
        (("text.txt", "-o", "model", "--steps", "0"), 2, "Invalid value for '--steps'"),
        (("text.txt", "-o", "model", "--warm-up", "1"), 2, "Invalid value for '--warm-up'"),
        (("text.txt", "-o", "model", "--optimizer", "sgd"), 2, "Invalid value for '--optimizer'"),
    ],
)
def test_a_mistake_gives_one_clear_error(
    arguments: tuple[str, ...], code: int, message: str, folder: Path
) -> None:
    (folder / "empty.txt").write_text("")
    (folder / "full").mkdir()
    (folder / "full" / "config.json").write_text("{}")
    done = _pretrain(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert code == 2 or len(done.stderr.splitlines()) == 1
    assert not (folder / "model").exists()


def test_a_bad_tf_config_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    done = _pretrain("text.txt", "-o", "model", *SHORT)
    assert done.exit_code == 1
    assert done.stderr.startswith("albert-edge: TF_CONFIG must be like {")
    assert not (folder / "model").exists()
