"""A model that can leave early, from its checkpoint through every verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import albert_edge
from albert_edge import cli
from albert_edge.benchmark.measure import measure
from albert_edge.bundle import bundle
from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.checkpoints.init import init_model
from albert_edge.errors import ConfigError, InputError

TEXT = "a quiet, moving film"


@pytest.fixture(scope="module")
def source(ordinary_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model, with exits that have learned nothing: half of them contradict it."""
    plain = read_checkpoint(ordinary_model)
    config = replace(plain.config, early_exit=True)
    exits = init_model(config, "classification")
    folder = tmp_path_factory.mktemp("exits") / "checkpoint"
    tensors = {**exits, **plain.tensors}
    write_checkpoint(folder, replace(plain, config=config, tensors=tensors))
    return folder


@pytest.fixture(scope="module")
def plain(ordinary_model: Path) -> Path:
    """The same model as a file that always runs all layers."""
    path = ordinary_model.with_name("plain.tflite")
    call("convert", ordinary_model, "-o", path)
    return path


@pytest.fixture(scope="module")
def file(source: Path) -> Path:
    path = source.with_name("m.tflite")
    made = call("convert", source, "-o", path, "--exit-patience", 1, "--exit-threshold", 0.995)
    assert "default early exit: prediction unchanged for 1 layer or probability 0.995" in made
    return path


def call(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli._group, [str(one) for one in arguments])
    assert done.exit_code == code, done.output
    return str(done.stderr if code else done.stdout)


def test_convert_writes_the_rule(file: Path, source: Path) -> None:
    inside = bundle.read(file)
    assert inside.early_exit == albert_edge.EarlyExit(patience=1, threshold=0.995)
    shown = call("inspect", file)
    assert "default early exit: prediction unchanged for 1 layer or" in shown
    assert "the early-exit decision is computed in float" in shown
    assert "output layers_used: int32 1" in shown
    said = call("convert", source, "-o", file.with_name("x"), "--exit-patience", 0, code=1)
    assert "patience must be a whole number of at least 1" in said
    said = call("convert", source, "-o", file.with_name("x"), "--layout", "unrolled",
                "--exit-patience", 2, code=1)  # fmt: skip
    assert "early exit needs layout loop or split, and a model that was trained" in said
    said = call("convert", source, "-o", file.with_name("x"), "--to", "keras",
                "--exit-patience", 2, code=2)  # fmt: skip
    assert "--exit-patience is for --to tflite" in said


def test_verify_makes_it_leave_everywhere(file: Path, source: Path) -> None:
    found = json.loads(call("verify", file, source, "--json"))
    assert found["passed"]
    assert set(found["outputs"]) == {"logits", "exit_logits"}


def test_run_says_how_many_layers(file: Path, plain: Path) -> None:
    depth = bundle.read(file).config.num_hidden_layers
    whole = json.loads(call("run", plain, TEXT, "--json"))
    off = ("--patience", depth, "--threshold", 1.5)
    answer = json.loads(call("run", file, TEXT, "--json", *off))
    assert answer.pop("layers_used") == depth
    assert answer == whole  # the exits change nothing where they are not taken
    assert json.loads(call("run", file, TEXT, "--json", "--threshold", 0))["layers_used"] == 1
    assert "after 2 layers" in call("run", file, TEXT, *off, "--max-layers", 2)
    assert "does not support early exit" in call("run", plain, TEXT, "--patience", 2, code=1)
    assert "threshold must be a probability" in call("run", file, TEXT, "--threshold", -1, code=1)


def test_the_pipeline_takes_what_run_takes(file: Path, plain: Path) -> None:
    pipe: Any = albert_edge.load(file)
    assert pipe(TEXT, max_layers=1)["layers_used"] == 1
    assert pipe(TEXT)["layers_used"] == pipe(TEXT, patience=1)["layers_used"] > 1
    with pytest.raises(ConfigError, match="patience must be"):
        pipe(TEXT, patience=0)
    ordinary: Any = albert_edge.load(plain)
    assert "layers_used" not in ordinary(TEXT)
    for given in ({"patience": 1}, {"max_layers": 1}, {"threshold": 0.5}):
        with pytest.raises(InputError, match="does not support early exit"):
            ordinary(TEXT, **given)


def test_evaluate_reports_the_mean(file: Path, plain: Path, tmp_path: Path) -> None:
    table = tmp_path / "reviews.tsv"
    rows = (f"{TEXT}\t1", "dull from beginning to end\t0", "i loved every minute\t1")
    table.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    depth = bundle.read(file).config.num_hidden_layers
    pipe: Any = albert_edge.load(file)
    used = [pipe(row.split("\t")[0])["layers_used"] for row in rows]
    report = json.loads(call("evaluate", file, table, "--json"))
    assert report["models"][0]["layers_used"] == pytest.approx(sum(used) / 3)
    off = ("--patience", depth, "--threshold", 2)
    report = json.loads(call("evaluate", file, table, "--against", plain, "--json", *off))
    assert report["models"][0]["layers_used"] == depth
    assert "layers_used" not in report["models"][1]
    assert report["agreement"] == 1
    assert "1.00 layers per text on average" in call("evaluate", file, table, "--max-layers", 1)
    assert "it has no early exit" in call("evaluate", plain, table, "--patience", 2, code=1)


DATA = {
    "token-classification": ("words.conll", "a O\nquiet O\nfilm O\n\nloved O\n"),
    "question-answering": (
        "questions.json",
        json.dumps(
            {
                "data": [
                    {
                        "paragraphs": [
                            {
                                "context": "A quiet film. " * 30,  # of several windows
                                "qas": [{"id": "1", "question": "What?", "answers": ["film"]}],
                            }
                        ]
                    }
                ]
            }
        ).replace('"film"', '{"text": "film", "answer_start": 8}'),
    ),
}


@pytest.mark.parametrize("task", DATA)
def test_questions_and_words_exit_too(
    task: str, tiny_albert: Callable[..., Any], tmp_path: Path
) -> None:
    labels = ("O", "B-X")
    shape = {"vocab_size": 20000, "max_position_embeddings": 64, "num_hidden_layers": 4}
    model = tiny_albert(task, early_exit=True, labels=labels, **shape)
    model.tokenizer_files = bundle.read("default").tokenizer_files
    file, plain = tmp_path / "m.tflite", tmp_path / "plain.tflite"
    albert_edge.convert(model, verified=False).save(file)
    albert_edge.convert(model, layout="unrolled", verified=False).save(plain)
    question = ("--question", "What?") if task == "question-answering" else ()
    assert "after 2 layers" in call("run", file, TEXT, *question, "--max-layers", 2)
    said = call("run", plain, TEXT, *question, "--max-layers", 2, code=1)
    assert "does not support early exit" in said
    name, content = DATA[task]
    (tmp_path / name).write_text(content)
    for most in (1, 3):
        options = ("--max-layers", most, "--patience", 9)
        report = json.loads(call("evaluate", file, tmp_path / name, "--json", *options))
        assert report["models"][0]["layers_used"] == most
    assert "it has no early exit" in call("evaluate", plain, tmp_path / name, *options, code=1)


def test_benchmark_times_the_rule_and_compares_the_whole(file: Path, plain: Path) -> None:
    ids = albert_edge.load(file).text_tokenizer().encode(TEXT).input_ids
    taken = measure(file, input_ids=ids, runs=1, warmup=0, min_time_s=0, probes=[ids[:3]])
    pipe: Any = albert_edge.load(file)
    assert taken.layers_used == pipe(input_ids=ids)["layers_used"]
    assert [set(outputs) for outputs in taken.outputs] == [{"logits"}] * 2
    whole = pipe.model.run_all_layers(ids)["logits"]
    assert taken.outputs[0]["logits"].tolist() == whole.tolist()
    ordinary = measure(plain, input_ids=ids, runs=1, warmup=0, min_time_s=0)
    assert ordinary.layers_used is None
    # The same weights in the same recipe: what is compared with a reference is the same too.
    assert ordinary.outputs[0]["logits"].tolist() == whole.tolist()
