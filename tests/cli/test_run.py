"""`albert-edge run`: texts and ids, by argument and by line, for every head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from albert_edge import cli
from albert_edge.cli.run import _format, _ids
from albert_edge.errors import InputError
from cli.commands import PARITY, albert_edge


def test_run_takes_ids_from_the_argument_and_from_lines(tiny):
    one = albert_edge("run", tiny, "2 17 33 3", "--ids", "--json")
    many = albert_edge("run", tiny, "--ids", "--json", stdin="2 17 33 3\n2 5 | 8 3\n")
    assert one.exit_code == many.exit_code == 0
    answers = [json.loads(line) for line in many.stdout.splitlines()]
    assert answers[0] == json.loads(one.stdout)
    assert set(answers[1]["scores"]) == {"negative", "neutral", "positive"}


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        ("2 5 3\n2 x 3\n", "line 2: --ids takes whole numbers"),
        ("2 99 3\n", "line 1: input_ids must be in [0, 60); there is 99"),
        ("2 5 3\n\n", "line 2: input_ids must be"),
    ],
)
def test_a_bad_line_is_named(tiny, stdin, message):
    done = albert_edge("run", tiny, "--ids", stdin=stdin)
    assert done.exit_code == 1
    assert message in done.stderr


def test_a_line_that_is_not_utf8_is_named(tiny):
    done = CliRunner().invoke(cli._group, ["run", str(tiny), "--ids"], input=b"2 5 3\n\xff\n")
    assert done.exit_code == 1
    assert "line 2: the text is not UTF-8" in done.stderr


def test_question_and_task_must_agree(tiny):
    done = albert_edge("run", tiny, "hello", "--question", "Who?")
    assert done.exit_code == 2
    assert "does not take --question" in done.stderr


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


def test_ids_behind_a_bar_are_of_the_second_text() -> None:
    assert _ids("2 48 3 | 21 3") == {
        "input_ids": [2, 48, 3, 21, 3],
        "token_type_ids": [0, 0, 0, 1, 1],
    }
    with pytest.raises(InputError, match="--ids takes whole numbers such as '2 48 25 3'"):
        _ids("2 4.5 3")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"label": "good", "score": 0.98765, "layers_used": 1}, "good  0.988  after 1 layer"),
        (
            {"label": "good", "score": 0.5, "truncated": True},
            "good  0.500  (the text was truncated)",
        ),
        ({"labels": [], "scores": {}}, "(no label)"),
        ({"value": -1.25}, "-1.2500"),
        ({"answer": "", "score": 0.25}, "(no answer)  0.250"),
        (
            {
                "answer": "a",
                "answers": [{"answer": "a", "score": 0.5}, {"answer": "b", "score": 0.1}],
            },
            "a  0.500\nb  0.100",
        ),
        (
            {"bullets": [{"text": "two\n lines"}, {"text": [7, 8]}], "sentences": 4},
            "- two lines\n- 7 8\n(4 sentences were read)",
        ),
        (
            {"words": [{"text": "Ada", "label": "B-PER", "score": 1.0}]},
            "Ada [B-PER 1.000]",
        ),
        (
            {"masks": [{"candidates": [{"token": "mill", "score": 0.125}]}]},
            "0.125  mill",
        ),
    ],
)
def test_an_answer_is_printed_by_what_it_holds(answer: dict[str, Any], text: str) -> None:
    assert _format({"truncated": False, **answer}) == text


def test_all_of_standard_input_is_the_passage():
    passage = "Ada Lovelace wrote the first program.\nIt was in 1843, for the Analytical Engine.\n"
    done = albert_edge("run", "questions", "--question", "When was it written?", stdin=passage)
    assert (done.exit_code, done.stdout.split()[0]) == (0, "1843")
    done = albert_edge(
        "run", "questions", "--question", "Who rules France?", "--allow-null", stdin="It rained.\n"
    )
    assert done.stdout.startswith("(no answer)")


def test_the_nearest_lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("I lost my card.\nMy transfer has not arrived.\n")
    command = ("run", "embeddings", "--nearest-in", str(path))
    done = albert_edge(*command, "--top-k", "2", stdin="Where is the money that I sent?\n")
    first, second = done.stdout.splitlines()
    assert first.endswith("line 2: My transfer has not arrived.")
    assert second.endswith("line 1: I lost my card.")
    done = albert_edge(*command, "--json", stdin="my card is gone\nno money came\n")
    found = [json.loads(line)["nearest"][0]["line"] for line in done.stdout.splitlines()]
    assert found == [1, 2]
    assert (tmp_path / "lines.txt.vectors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embeddings", "x", "--top-k", "2"], "--top-k needs --nearest-in FILE"),
        (["default", "x", "--nearest-in", "f"], "does not take --nearest-in"),
    ],
)
def test_nearest_lines_need_embeddings(arguments, message):
    done = albert_edge("run", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
