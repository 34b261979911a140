"""`albert-edge distill` as people use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from albert_edge import cli
from language import language
from training.distillation.samples import write_bert

SHORT = (
    *("--hidden-size", "16", "--num-hidden-layers", "2", "--embedding-size", "8"),
    *("--num-attention-heads", "2", "--intermediate-size", "32", "--mixed-precision", "off"),
)
STEPS = ("--steps", "2", "--batch-size", "4", "--max-length", "16", "--examine-every", "1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a text, a table and a teacher."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("\n\n".join("\n".join(one) for one in language(40)))
    rows = [f"{' '.join(one)}\t{'ab'[at % 2]}" for at, one in enumerate(language(12))]
    Path("a.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    write_bert(tmp_path / "bert")
    write_bert(tmp_path / "classifier", "classification")
    return tmp_path


def _distill(*arguments: str) -> Result:
    return CliRunner().invoke(cli._group, ["distill", *arguments])


def test_help_has_examples() -> None:
    shown = _distill("--help").output
    assert shown.count("albert-edge distill ") >= 5
    assert "(0.001 on text, 0.0005 on data)" in " ".join(shown.split())


def test_an_encoder_is_distilled_and_figures_are_shown(folder: Path) -> None:
    dev = ("--dev", "text.txt")
    done = _distill("./bert", "--text", "text.txt", "-o", "model", *dev, *SHORT, *STEPS)
    assert done.exit_code == 0, done.output
    first, start, figures, *rest = done.stdout.splitlines()
    assert first.startswith("model: ")
    assert "2 passes of width 16; the teacher has " in first
    assert start.startswith("started from the teacher's embeddings, 24 to 8 wide by SVD (")
    assert "tokens/s" in figures
    assert [line.split()[0] for line in rest[:2]] == ["train", "held_out"]
    assert {path.name for path in (folder / "model").iterdir()} == {
        *("config.json", "curve.jsonl", "logs", "model.safetensors"),
        *("vocab.txt", "tokenizer_config.json"),
    }


def test_a_task_is_distilled_and_reported_as_json(folder: Path) -> None:
    arguments = ("--data", "a.tsv", "--dev", "a.tsv", "--epochs", "1", "--max-length", "32")
    done = _distill("./classifier", *arguments, "-o", "model", *SHORT, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["task"], report["metric"]) == ("classification", "accuracy")
    assert report["teaching"] == {"teacher_weight": 0.7, "temperature": 2.0}
    assert report["options"]["learning_rate"] == 5e-4
    assert (folder / "model" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("./bert", "-o", "model"), 2, "give either --text FILE, or --data FILE of a task"),
        (("./bert", "--text", "text.txt"), 2, "Missing option '-o'"),
        (("./bert", "--text", "text.txt", "--epochs", "1"), 2, "--epochs is for --data"),
        (("./classifier", "--data", "a.tsv", "--steps", "1"), 2, "--steps is for --text"),
        (
            ("./bert", "--text", "text.txt", "--student", "x", "--medium"),
            2,
            "--student has a shape of its own; leave out --medium",
        ),
        (("./nowhere", "--text", "text.txt"), 1, "'./nowhere' is not a directory"),
        (("./bert", "--text", "nowhere.txt", "--max-length", "16"), 1, "cannot read nowhere.txt"),
        (("./bert", "--text", "text.txt", "--resume"), 1, "there is no training to resume"),
        (
            ("./classifier", "--data", "a.tsv", "--dev", "a.tsv", "--dev", "a.tsv"),
            1,
            "a task is evaluated on one dev set",
        ),
    ],
)
def test_a_mistake_gives_one_clear_error(
    arguments: tuple[str, ...], code: int, message: str, folder: Path
) -> None:
    output = () if "Missing" in message or "-o" in arguments else ("-o", "model")
    done = _distill(*arguments, *output)
    assert done.exit_code == code
    assert message in done.stderr
    assert code == 2 or len(done.stderr.splitlines()) == 1
    assert not (folder / "model").exists()
