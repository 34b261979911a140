"""The command line for every head: what it says, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from albert_edge import cli

PARITY = Path(__file__).parents[1] / "data" / "parity"


def albert_edge(*args: object) -> Result:
    return CliRunner().invoke(cli._group, [str(arg) for arg in args])


@pytest.fixture
def file(tiny_tflite: Callable[..., bytes], tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the file of a tiny model without a tokenizer."""

    def write(task: str, **config: object) -> Path:
        path = tmp_path / f"{task}.tflite"
        path.write_bytes(tiny_tflite(task, **config))
        return path

    return write


@pytest.mark.parametrize(
    ("task", "config", "ids", "says"),
    [
        ("classification", {"labels": ("stars",)}, "2 9 3", r"^-?[0-9.]+$"),
        (
            "classification",
            {"problem_type": "multi_label_classification"},
            "2 9 3",
            r"(negative|neutral|positive) 0\.|no label",
        ),
        ("classification", {"problem_type": "regression"}, "2 9 3", r"negative -?[0-9.]+  neutral"),
        ("token-classification", {}, "2 9 3", r"2 \[\w+ 0\.\d+\]  9 \[\w+ 0\.\d+\]  3 \["),
        ("fill-mask", {}, "2 9 3", r"0\.\d+  \d+"),
        ("summarization", {}, "2 9 3 8 7 3", r"- 9\n- 8 7\n\(2 sentences were read\)"),
        ("sentence-order", {}, "2 9 3 | 8 3", r"(in order|swapped)  0\.\d+"),
        ("pretraining", {}, "2 9 3 | 8 3", r"0\.\d+  \d+[\s\S]*(in order|swapped)  0\.\d+"),
        ("feature-extraction", {}, "2 9 3", "last_hidden_state 3x32, pooler_output 32, mean 32"),
    ],
)
def test_run_says_what_the_head_found(
    file: Callable[..., Path], task: str, config: dict[str, object], ids: str, says: str
) -> None:
    import re

    done = albert_edge("run", file(task, **config), ids, "--ids")
    assert done.exit_code == 0, done.output
    assert re.search(says, done.stdout.strip())
    answer = json.loads(albert_edge("run", file(task, **config), ids, "--ids", "--json").stdout)
    assert isinstance(answer, dict)


def test_options_reach_the_pipeline(file: Callable[..., Path]) -> None:
    embed = file("feature-extraction")
    done = albert_edge("run", embed, "2 9 3", "--ids", "--json", "--pooling", "cls", "--normalize")
    vector = json.loads(done.stdout)["embedding"]
    assert sum(x * x for x in vector) == pytest.approx(1, rel=1e-5)
    done = albert_edge("run", file("fill-mask"), "2 9 3", "--ids", "--json", "--top-k", 2)
    assert [len(mask["candidates"]) for mask in json.loads(done.stdout)["masks"]] == [2, 2, 2]
    labels = ("O", "B-X", "I-X")
    tags = file("token-classification", labels=labels)
    done = albert_edge("run", tags, "2 9 3", "--ids", "--json", "--entities")
    assert "entities" in json.loads(done.stdout)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("classification", ["--pooling", "mean"], "does not take --pooling"),
        ("classification", ["--entities", "--top-k", 3], "does not take --entities, --top-k"),
        ("token-classification", ["--pair", "b"], "does not take --pair"),
        ("fill-mask", ["--question", "Who?"], "does not take --question"),
        ("question-answering", [], "needs --question"),
        ("fill-mask", ["--bullets", 2, "--redundancy", 0], "does not take --bullets, --redundancy"),
    ],
)
def test_options_of_other_tasks_are_refused(
    file: Callable[..., Path], task: str, options: list[object], message: str
) -> None:
    done = albert_edge("run", file(task), "text", *options)
    assert done.exit_code == 2
    assert message in done.stderr


def test_an_article_is_summed_up(tokenizer_of_words: Mapping[str, bytes], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PARITY / "gelu_features", tmp_path / "model"))
    for name, content in tokenizer_of_words.items():
        (folder / name).write_bytes(content)
    article = "The mill fell. A storm fell.\n\nThe road, a mill.\nThe storms fell.\n"
    for task in ("summarization", "feature-extraction"):
        output = tmp_path / f"{task}.tflite"
        done = albert_edge("convert", folder, "-o", output, "--task", task, "--init-head")
        assert done.exit_code == 0, done.output
        ask = ["run", str(output), "--task", "summarize", "--bullets", "2", "--redundancy", "0"]
        done = CliRunner().invoke(cli._group, [*ask, "--json"], input=article)
        answer = json.loads(done.stdout)  # of all lines, one document
        assert answer["sentences"] == 4
        texts = [bullet["text"] for bullet in answer["bullets"]]
        assert texts == [article[b["start"] : b["end"]] for b in answer["bullets"]]
        said = CliRunner().invoke(cli._group, ask, input=article).stdout.splitlines()
        assert said == [*(f"- {text}" for text in texts), "(4 sentences were read)"]
        assert albert_edge(*ask, article).stdout.splitlines() == said
    lines = CliRunner().invoke(
        cli._group, ["run", str(tmp_path / "summarization.tflite")], input=article
    )
    assert "line 2: the text is empty" in lines.stderr  # without --task, a line is an article
    done = albert_edge("run", "default", "text", "--task", "summarize")
    assert done.exit_code == 1
    assert "summarize takes a file for summarization or feature-extraction" in done.stderr


def test_a_random_head_is_asked_for_and_said(tmp_path: Path) -> None:
    source, output = PARITY / "relu_classification", tmp_path / "m.tflite"
    ask = ["convert", source, "-o", output, "--task", "token-classification", "--force"]
    plain = ["convert", PARITY / "gelu_features", "-o", output, "--task", "question-answering"]
    done = albert_edge(*plain)
    assert done.exit_code == 1
    assert "--init-head" in done.stderr
    assert not output.exists()
    shown = albert_edge(*plain, "--init-head").output
    assert "the head is random" in shown
    checked = albert_edge("verify", output, PARITY / "gelu_features", "--json")
    assert json.loads(checked.stdout)["passed"]
    # This one has the tensors: they are read as they are, and nothing is random.
    report = json.loads(albert_edge(*ask, "--init-head", "--json").stdout)
    assert report["provenance"]["drawn"] == []


def test_a_pretrained_model_whole(tokenizer_of_words: Mapping[str, bytes], tmp_path: Path) -> None:
    """Checkpoint with a tokenizer → file → the words behind masks, and the order."""
    folder = Path(shutil.copytree(PARITY / "square_pretraining", tmp_path / "model"))
    for name, content in tokenizer_of_words.items():
        (folder / name).write_bytes(content)
    output = tmp_path / "m.tflite"
    done = albert_edge("convert", folder, "-o", output, "--quantize", "int8", "--json")
    report = json.loads(done.stdout)
    assert report["task"] == "pretraining"
    assert report["verification"]["passed"]
    text = "the [MASK] fell ."
    answer = json.loads(
        albert_edge("run", output, text, "--pair", "a storm", "--top-k", 1, "--json").stdout
    )
    (mask,) = answer["masks"]
    assert (mask["start"], mask["end"]) == (4, 10)
    assert answer["text"] == mask["candidates"][0]["text"]
    assert answer["order"]["label"] in ("in order", "swapped")
    done = albert_edge("run", output, "the mill")
    assert done.exit_code == 1
    assert "nothing to predict" in done.stderr


@pytest.fixture
def tokenizer_of_words() -> Mapping[str, bytes]:
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the a mill storm fell road ##s . ,"
    return {"vocab.txt": "\n".join(words.split()).encode()}
