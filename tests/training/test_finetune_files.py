"""What fine-tuning may start from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import AlbertEdgeError, InputError, TrainingError
from albert_edge.training.finetune_files import finetune_files
from albert_edge.training.init import init_from_scratch
from albert_edge.training.options import BestCheckpoint, FinetuneOptions
from datasets.files import write
from training.samples import OPTIONS, SHORT, make_texts, write_squad

BRIEF = FinetuneOptions(epochs=1, batch_tokens=256, max_length=32)


@pytest.fixture
def source(toy_table: Path, toy_shape: Path, tmp_path: Path) -> str:
    """A checkpoint with the labels a and b."""
    examples = read_examples(toy_table, "classification", None, EvaluateOptions())
    texts = [inputs["text"] for inputs in examples.inputs]
    checkpoint = init_from_scratch(AlbertConfig.read(toy_shape), texts, ("a", "b"), seed=1)
    write_checkpoint(tmp_path / "ab", checkpoint)
    return str(tmp_path / "ab")


def test_a_random_head_has_to_be_asked_for(source: str, toy_table: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"into 0, 1; it is for classification .*--init-head"):
        finetune_files(toy_table, tmp_path / "new", source=source, options=BRIEF)
    assert not (tmp_path / "new").exists()
    finetune_files(toy_table, tmp_path / "new", source=source, init_head=True, options=BRIEF)
    assert read_checkpoint(tmp_path / "new").config.labels == ("0", "1")
    finetune_files(toy_table, tmp_path / "same", source=source, labels=("a", "b"), options=BRIEF)
    kernels = [read_checkpoint(f).tensors["classifier/kernel"] for f in (source, tmp_path / "same")]
    assert not np.array_equal(*kernels)


def test_a_head_for_another_problem_is_refused(
    source: str, toy_table: Path, tmp_path: Path
) -> None:
    path = Path(source) / "config.json"
    values = {**json.loads(path.read_text()), "problem_type": "multi_label_classification"}
    path.write_text(json.dumps(values))
    with pytest.raises(TrainingError, match="has no head that classifies into a, b"):
        finetune_files(
            toy_table,
            tmp_path / "new",
            source=source,
            task="classification",
            labels=("a", "b"),
            options=BRIEF,
        )


def test_the_best_epoch_is_kept(toy_table: Path, toy_shape: Path, tmp_path: Path) -> None:
    report = finetune_files(
        toy_table,
        tmp_path / "model",
        config=toy_shape,
        dev=toy_table,
        options=OPTIONS,
        selection=BestCheckpoint(keep="best", patience_epochs=3),
    )
    scores = [epoch["dev_score"] for epoch in report["epochs"]]
    assert report["kept_epoch"] == 1 + scores.index(max(scores))
    assert len(scores) == report["kept_epoch"] + 3 < OPTIONS.epochs
    with pytest.raises(TrainingError, match="needs --dev"):
        finetune_files(
            toy_table, tmp_path / "other", config=toy_shape, selection=BestCheckpoint(keep="best")
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must name one column text or sentence; it has: nothing"),
        ("text\tlabel\n", "has no examples"),
        ("words\tlabel\na\t0\n", "one column text or sentence; it has: words, label"),
        ("text\tsentence\tlabel\na\tb\t0\n", "one column text or sentence"),
        ("text\tclass\na\t0\n", "one column label; it has: text, class"),
        ("text\tlabel\na\t0\nb\n", "line 3: expected 2 columns .text, label., got 1"),
        ("text\tlabel\na\t0\n \t1\n", "line 3: the text is blank"),
        ("text\tlabel\na\t0\nb\t0\n", r"two distinct labels or more, got \['0'\]"),
        (b"text\tlabel\na\t0\n\xff\t1\n", "line 3: not UTF-8"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: str | bytes, message: str) -> None:
    kind: type[AlbertEdgeError] = TrainingError if "two distinct" in message else InputError
    with pytest.raises(kind, match=message):
        finetune_files(write(tmp_path, content), tmp_path / "model")


def test_repeated_label_names(tmp_path: Path) -> None:
    path = write(tmp_path, "text\tlabel\na\t0\n")
    with pytest.raises(TrainingError, match="two distinct labels"):
        finetune_files(path, tmp_path / "model", labels=("same", "same"))


@pytest.fixture(scope="module")
def early(toy_table: Path, toy_shape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a classifier behind every pass."""
    folder = tmp_path_factory.mktemp("early")
    report = finetune_files(
        toy_table, folder / "early", config=toy_shape, early_exit=True, options=SHORT
    )
    assert report["early_exit"]
    again = finetune_files(toy_table, folder / "again", source=str(folder / "early"), options=SHORT)
    assert again["early_exit"]  # the same head keeps its exits
    return folder / "early"


@pytest.mark.parametrize("kind", ["token-classification", "question-answering", "regression"])
def test_an_encoder_that_left_early_learns_another_task(
    kind: str, early: Path, toy_table: Path, tmp_path: Path
) -> None:
    data = tmp_path / "words.conll"
    data.write_text("mill B\noak O\n\noak O\nmill B\n")
    if kind == "question-answering":
        data = write_squad(tmp_path / "questions.json", make_texts(10))
    if kind == "regression":
        data = toy_table
    report = finetune_files(
        data,
        tmp_path / "new",
        source=str(early),
        init_head=True,
        task=kind,
        options=SHORT,
    )
    assert not report["early_exit"]
    assert not read_checkpoint(tmp_path / "new").config.early_exit


def test_what_cannot_be_used_is_skipped_on_request(tmp_path: Path, toy_shape: Path) -> None:
    path = write_squad(tmp_path / "questions.json", make_texts(12))
    document = json.loads(path.read_text())
    entries = document["data"][0]["paragraphs"]
    entries[1]["qas"][0]["answers"][0]["answer_start"] += 1
    entries[3]["qas"][0]["question"] = "\u200b"
    del entries[5]["qas"][0]["answers"]
    entries[7]["qas"][0]["question"] = "so what " * 300
    path.write_text(json.dumps(document))
    options: dict[str, Any] = {"config": toy_shape, "dev": path, "options": SHORT}
    with pytest.raises((InputError, TrainingError), match="--skip-bad leaves such examples out"):
        finetune_files(path, tmp_path / "model", **options)
    data_options = EvaluateOptions(skip_bad=True)
    report = finetune_files(path, tmp_path / "model", data_options=data_options, **options)
    # An answer's place is not needed to score it.
    assert (report["train_examples"], report["skipped"]) == (9, 3)
    assert (report["dev_examples"], report["dev_skipped"]) == (10, 2)
    assert report["truncated"] == 1


@pytest.mark.parametrize(("task", "rows"), [("classification", "ab"), ("regression", "12")])
@pytest.mark.parametrize("with_dev", [True, False])
def test_a_training_that_diverges_says_so(
    task: str, rows: str, with_dev: bool, toy_shape: Path, tmp_path: Path
) -> None:
    lines = [f"the {word} film\t{row}" for word in ("good", "bad", "old", "new") for row in rows]
    table = write(tmp_path, "\n".join(["text\tlabel", *lines]) + "\n")
    options = FinetuneOptions(
        epochs=3, batch_tokens=32, max_length=16, learning_rate=20.0, averaging=0.0
    )
    report = finetune_files(
        table,
        tmp_path / "new",
        config=toy_shape,
        task=task,
        dev=table if with_dev else None,
        options=options,
    )
    diverged, *same, advice = report["warnings"]
    loss = report["epochs"][-1]["loss"]
    guessing = np.log(2) if task == "classification" else 0.25  # the variance of 1 and 2
    assert loss > 1.1 * guessing
    assert diverged == (
        f"the training diverged: its loss is {loss:.3g} at the end; that of guessing is "
        f"{guessing:.3g}."
    )
    what = "dev" if with_dev else "training"
    assert same in (
        [],
        [f"nothing was learned: the model predicts the same for all of 8 {what} examples."],
    )
    assert advice == "train again with a lower learning rate; it was 20."


@pytest.mark.parametrize("with_dev", [True, False])
def test_a_training_without_a_step_of_any_size_learned_nothing(
    with_dev: bool, toy_table: Path, toy_shape: Path, tmp_path: Path
) -> None:
    options = dataclasses.replace(BRIEF, learning_rate=1e-12)
    dev = toy_table if with_dev else None
    report = finetune_files(toy_table, tmp_path / "new", config=toy_shape, dev=dev, options=options)
    what = "120 dev" if with_dev else "64 training"  # a sample
    assert report["warnings"] == [
        f"nothing was learned: the model predicts the same for all of {what} examples.",
        "train again with another learning rate; it was 1e-12.",
    ]


def test_a_training_that_learns_warns_of_nothing(
    toy_table: Path, toy_shape: Path, tmp_path: Path
) -> None:
    options = dataclasses.replace(BRIEF, epochs=12, learning_rate=0.01, averaging=0.5)
    for dev in (toy_table, None):
        report = finetune_files(
            toy_table, tmp_path / "new", config=toy_shape, dev=dev, options=options, force=True
        )
        assert report["warnings"] == []
