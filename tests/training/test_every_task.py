"""Tiny models learn every task from files, and what was interrupted goes on."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError, OutputError, TrainingError
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.finetune_files import BestCheckpoint, finetune_files
from albert_edge.training.options import FinetuneOptions

_WORDS = ("mill", "river", "storm", "road", "widow", "wheel", "oak", "roof", "crow", "plan")
_OPTIONS = FinetuneOptions(
    epochs=25,
    batch_tokens=512,
    learning_rate=0.01,
    max_length=32,
    averaging=0.9,
    sampling=1.0,
    word_dropout=0.0,
    label_smoothing=0.0,
    window=32,
)
_LONG = dataclasses.replace(_OPTIONS, epochs=50, learning_rate=3e-3)
_SHORT = dataclasses.replace(_OPTIONS, epochs=1)


def _texts(count: int, seed: int = 1) -> list[list[str]]:
    drawn = random.Random(seed)
    return [drawn.sample(_WORDS, drawn.randint(3, 6)) for _ in range(count)]


def _table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def _learn(data: Path, toy_shape: Path, **more: Any) -> dict[str, Any]:
    return finetune_files(
        data,
        data.parent / "model",
        config=toy_shape,
        dev=data,
        **{"options": _OPTIONS, **more},
    )


def test_pairs(tmp_path: Path, toy_shape: Path) -> None:
    # Only the second text tells; the first has the telling word or not by chance.
    rows = [
        {
            "text": " ".join(first),
            "text_pair": " ".join(second),
            "label": "yes" if "mill" in second else "no",
        }
        for first, second in zip(_texts(120), _texts(120, seed=2), strict=True)
    ]
    report = _learn(_table(tmp_path / "pairs.jsonl", rows), toy_shape)
    # About a half of the answers are yes; without the types of tokens a third would be wrong.
    assert report["dev_accuracy"] > 0.9
    assert report["labels"] == ["no", "yes"]


def test_several_labels(tmp_path: Path, toy_shape: Path) -> None:
    rows = [
        {"text": " ".join(words), "label": [w for w in ("mill", "oak") if w in words]}
        for words in _texts(120)
    ]
    data = _table(tmp_path / "many.jsonl", rows)
    report = _learn(data, toy_shape, task="multi-label", options=_LONG)
    # Each label is on less than half of the texts: both on every text would score about 0.6.
    assert report["dev_metrics"][report["metric"]] > 0.8
    config = read_checkpoint(tmp_path / "model").config
    assert (config.labels, config.kind) == (("mill", "oak"), "multi-label")


def test_numbers(tmp_path: Path, toy_shape: Path) -> None:
    rows = [
        {"text": " ".join(words), "label": ("mill" in words) + 2 * ("oak" in words)}
        for words in _texts(120)
    ]
    data = _table(tmp_path / "numbers.jsonl", rows)
    report = _learn(data, toy_shape, task="regression", options=_LONG)
    assert report["dev_metrics"]["pearson"] > 0.9
    assert read_checkpoint(tmp_path / "model").config.kind == "regression"


def test_words(tmp_path: Path, toy_shape: Path) -> None:
    path = tmp_path / "words.conll"
    lines = [
        "".join(f"{word} {'B-PER' if word in ('widow', 'crow') else 'O'}\n" for word in words)
        for words in _texts(100)
    ]
    path.write_text("\n".join(lines))
    report = _learn(path, toy_shape)
    assert report["task"] == "token-classification"
    assert report["dev_metrics"]["f1"] > 0.9
    # Words that are right are not independent examples: there is no simple interval.
    assert report["dev_accuracy"] > 0.9
    assert report["dev_interval"] is None


@pytest.fixture(scope="module")
def early(toy_table: Path, toy_shape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a classifier behind every pass."""
    folder = tmp_path_factory.mktemp("early")
    report = finetune_files(
        toy_table, folder / "early", config=toy_shape, early_exit=True, options=_SHORT
    )
    assert report["early_exit"]
    again = finetune_files(
        toy_table, folder / "again", source=str(folder / "early"), options=_SHORT
    )
    assert again["early_exit"]  # the same head keeps its exits
    return folder / "early"


@pytest.mark.parametrize("kind", ["token-classification", "question-answering", "regression"])
def test_an_encoder_that_left_early_learns_another_task(
    kind: str, early: Path, toy_table: Path, tmp_path: Path
) -> None:
    data = tmp_path / "words.conll"
    data.write_text("mill B\noak O\n\noak O\nmill B\n")
    if kind == "question-answering":
        data = _squad(tmp_path / "questions.json", _texts(10))
    if kind == "regression":
        data = toy_table
    report = finetune_files(
        data,
        tmp_path / "new",
        source=str(early),
        init_head=True,
        task=kind,
        options=_SHORT,
    )
    assert not report["early_exit"]
    assert not read_checkpoint(tmp_path / "new").config.early_exit


def _squad(path: Path, texts: list[list[str]]) -> Path:
    entries = []
    for number, words in enumerate(texts):
        context = " ".join([*words[:2], "so", *words[2:]])
        answer = {"text": words[2], "answer_start": context.index("so ") + 3}
        question = {"id": str(number), "question": "so what ?", "answers": [answer]}
        entries.append({"context": context, "qas": [question]})
    path.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": entries}]}))
    return path


def test_questions(tmp_path: Path, toy_shape: Path) -> None:
    report = _learn(_squad(tmp_path / "questions.json", _texts(100)), toy_shape)
    assert report["task"] == "question-answering"
    # One word of three to six is right.
    assert report["dev_metrics"]["f1"] > 0.7
    assert report["kept_epoch"] == _OPTIONS.epochs


def test_an_answer_that_is_not_there_is_refused(tmp_path: Path, toy_shape: Path) -> None:
    path = _squad(tmp_path / "questions.json", _texts(3))
    path.write_text(path.read_text().replace('"answer_start": ', '"answer_start": 1'))
    with pytest.raises((TrainingError, InputError), match="question"):
        _learn(path, toy_shape)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("precision", ["off", "bfloat16"])
def test_exits_learn_too(toy_table: Path, toy_shape: Path, tmp_path: Path, precision: str) -> None:
    from albert_edge.modeling import from_checkpoint

    options = dataclasses.replace(_OPTIONS, epochs=20, mixed_precision=precision)
    finetune_files(
        toy_table, tmp_path / "model", config=toy_shape, early_exit=True, options=options
    )
    checkpoint = read_checkpoint(tmp_path / "model")
    assert checkpoint.config.early_exit
    assert {values.dtype for values in checkpoint.tensors.values()} == {np.dtype(np.float32)}
    tokenizer = tokenizer_from_files(checkpoint.tokenizer_files)
    lines = [line.split("\t") for line in toy_table.read_text().splitlines()[1:]]
    model, right = from_checkpoint(checkpoint), []
    for text, label in lines[:40]:
        ids = np.array([tokenizer.encode(text).input_ids], np.int32)
        right.append(model.exits({"input_ids": ids}).numpy()[0].argmax(-1) == int(label))
    assert np.mean(right, axis=0).min() > 0.9  # of every exit


def test_a_teacher_has_the_last_word(toy_table: Path, toy_shape: Path, tmp_path: Path) -> None:
    lines = [line.split("\t") for line in toy_table.read_text().splitlines()[1:]]
    rows = [
        # It says the opposite of the label.
        {"text": text, "label": label, "chances": [float(label), 1 - float(label)]}
        for text, label in lines
    ]
    report = _learn(_table(tmp_path / "taught.jsonl", rows), toy_shape, teacher_column="chances")
    assert report["dev_accuracy"] < 0.1


def test_the_best_epoch_is_kept(toy_table: Path, toy_shape: Path, tmp_path: Path) -> None:
    report = finetune_files(
        toy_table,
        tmp_path / "model",
        config=toy_shape,
        dev=toy_table,
        options=_OPTIONS,
        selection=BestCheckpoint(keep="best", patience_epochs=3),
    )
    scores = [epoch["dev_score"] for epoch in report["epochs"]]
    assert report["kept_epoch"] == 1 + scores.index(max(scores))
    assert len(scores) == report["kept_epoch"] + 3 < _OPTIONS.epochs
    with pytest.raises(TrainingError, match="needs --dev"):
        finetune_files(
            toy_table, tmp_path / "other", config=toy_shape, selection=BestCheckpoint(keep="best")
        )


def test_a_killed_training_goes_on(toy_table: Path, toy_shape: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from albert_edge.cli import main; main()", "finetune"]
    command += [str(toy_table), "-o", "model", "--config", str(toy_shape), "--save-every", "0"]
    command += ["--epochs", "60", "--max-length", "32", "--dev", str(toy_table)]
    command += ["--learning-rate", "3e-3", "--batch-tokens", "512", "--sampling", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    state, began = tmp_path / "model.training", time.monotonic()
    while not (state.exists() and (tmp_path / "model" / "config.json").exists()):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() - began < 120
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again: dict[str, Any] = {
        "config": toy_shape,
        "dev": toy_table,
        # Whatever the seed, and so wherever it was killed: in 60 epochs this is learned whole.
        "options": FinetuneOptions(
            epochs=60, max_length=32, learning_rate=3e-3, batch_tokens=512, sampling=1.0
        ),
    }
    with pytest.raises(OutputError, match="interrupted training; give --resume to continue"):
        finetune_files(toy_table, tmp_path / "model", **again)
    with pytest.raises(TrainingError, match="give --resume to continue a training or --force"):
        finetune_files(toy_table, tmp_path / "model", **again, resume=True, force=True)
    other = {**again, "data_options": EvaluateOptions(bullets=1)}
    with pytest.raises(TrainingError, match="other data, options or weights"):
        finetune_files(toy_table, tmp_path / "model", **other, resume=True)
    report = finetune_files(toy_table, tmp_path / "model", **again, resume=True)
    assert report["resumed"]
    assert [epoch["epoch"] for epoch in report["epochs"]] == list(range(1, 61))
    assert report["dev_accuracy"] > 0.9
    assert not state.exists()
