"""`ClassificationObjective`: labels of texts and pairs, several labels, and numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.checkpoints import read_checkpoint
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.training.finetune_files import finetune_files
from training.samples import LONG, OPTIONS, learn, make_texts, write_table
from training.tasks.samples import PLAIN, TEXT, draw, lesson_in, read


def test_pairs(tmp_path: Path, toy_shape: Path) -> None:
    # Only the second text tells; the first has the telling word or not by chance.
    rows = [
        {
            "text": " ".join(first),
            "text_pair": " ".join(second),
            "label": "yes" if "mill" in second else "no",
        }
        for first, second in zip(make_texts(120), make_texts(120, seed=2), strict=True)
    ]
    report = learn(write_table(tmp_path / "pairs.jsonl", rows), toy_shape)
    # About a half of the answers are yes; without the types of tokens a third would be wrong.
    assert report["dev_accuracy"] > 0.9
    assert report["labels"] == ["no", "yes"]


def test_several_labels(tmp_path: Path, toy_shape: Path) -> None:
    rows = [
        {"text": " ".join(words), "label": [w for w in ("mill", "oak") if w in words]}
        for words in make_texts(120)
    ]
    data = write_table(tmp_path / "many.jsonl", rows)
    report = learn(data, toy_shape, task="multi-label", options=LONG)
    # Each label is on less than half of the texts: both on every text would score about 0.6.
    assert report["dev_metrics"][report["metric"]] > 0.8
    config = read_checkpoint(tmp_path / "model").config
    assert (config.labels, config.kind) == (("mill", "oak"), "multi-label")


def test_numbers(tmp_path: Path, toy_shape: Path) -> None:
    rows = [
        {"text": " ".join(words), "label": ("mill" in words) + 2 * ("oak" in words)}
        for words in make_texts(120)
    ]
    data = write_table(tmp_path / "numbers.jsonl", rows)
    # A regression has no accuracy, and its state is written all the same.
    report = learn(data, toy_shape, task="regression", options=LONG, save_every_s=0.0)
    assert report["dev_metrics"]["pearson"] > 0.9
    assert read_checkpoint(tmp_path / "model").config.kind == "regression"


@pytest.mark.parametrize("precision", ["off", "bfloat16"])
def test_exits_learn_too(toy_table: Path, toy_shape: Path, tmp_path: Path, precision: str) -> None:
    from albert_edge.modeling import from_checkpoint

    options = dataclasses.replace(OPTIONS, epochs=20, mixed_precision=precision)
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
    report = learn(
        write_table(tmp_path / "taught.jsonl", rows), toy_shape, teacher_column="chances"
    )
    assert report["dev_accuracy"] < 0.1


@pytest.mark.parametrize("sampling", [1.0, 0.5])
def test_pairs_are_cut_as_the_tokenizer_cuts_them(
    tokenizer: Tokenizer, tmp_path: Path, sampling: float
) -> None:
    rows = [("a fox", TEXT, "1"), (TEXT, "a fox", "0"), (TEXT, TEXT, "0"), ("a", "a", "1")]
    content = "text\ttext_pair\tlabel\n" + "".join("\t".join(row) + "\n" for row in rows)
    lesson = read(tmp_path, "a.tsv", content, "classification", "0", "1")
    drawn = draw(lesson, tokenizer, sampling=sampling)
    assert drawn.truncated == 3
    assert drawn.token_type_ids is not None
    triples = zip(rows, drawn.input_ids, drawn.token_type_ids, strict=True)
    for (text, pair, _), ids, types in triples:
        encoding = tokenizer.encode(text, pair, max_length=12)
        if sampling == 1:
            assert (ids, types) == (encoding.input_ids, encoding.token_type_ids)
        assert len(ids) == len(types) <= 12
        assert types == [0] * (ids.index(tokenizer.sep_id) + 1) + [1] * sum(types)
    assert np.array(drawn.targets).tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]


LOGITS = tf.constant([[1.0, -2.0], [0.5, 0.25], [-1.0, 3.0]])


TRUE = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_losses_are_what_they_are_called() -> None:
    # Sums of float32 in another order differ in the last digits: rel=1e-6, here and below.
    logits, true = LOGITS.numpy().astype(float), TRUE.numpy()
    chances = 1 / (1 + np.exp(-logits))
    entropy = -(true * np.log(chances) + (1 - true) * np.log(1 - chances)).mean()
    lesson = lesson_in("multi-label", ["a"], ["b"], ["a", "b"])
    loss = lesson.loss({"logits": LOGITS}, TRUE, None, PLAIN)
    assert float(loss) == pytest.approx(entropy, rel=1e-6)
    assert float(lesson.accuracy({"logits": LOGITS}, TRUE, None)) == pytest.approx(1 / 3)
    lesson = lesson_in("regression", [1.0, 0.0], [0.0, 1.0], [1.0, 1.0])
    loss = lesson.loss({"logits": LOGITS}, TRUE, None, PLAIN)
    assert float(loss) == pytest.approx(((logits - true) ** 2).mean(), rel=1e-6)
    assert np.isnan(float(lesson.accuracy({"logits": LOGITS}, TRUE, None)))


@pytest.mark.parametrize(
    ("setting", "weights"),
    # Three examples of a and one of b; over all of them the mean weight is 1.
    [
        (None, [2 / 3, 2]),
        ("balanced", [2 / 3, 2]),
        ("none", [1, 1]),
        ("a=1,b=5", [0.5, 2.5]),
        ("b=5", [0.5, 2.5]),
    ],
)
def test_examples_count_by_their_label(setting: str | None, weights: list[float]) -> None:
    lesson, true = lesson_in("classification", "a", "a", "a", "b"), TRUE[:2]
    options = dataclasses.replace(PLAIN, class_weights=setting)
    losses = tf.nn.softmax_cross_entropy_with_logits(true, LOGITS[:2]).numpy()
    loss = lesson.loss({"logits": LOGITS[:2]}, true, None, options)
    assert float(loss) == pytest.approx(np.mean(losses * weights), rel=1e-6)


def test_later_exits_count_more() -> None:
    lesson, true = lesson_in("classification", "a", "b"), TRUE[:2]
    exits = tf.stack([LOGITS[1:], -LOGITS[1:], LOGITS[:2]], axis=1)  # [B, L, C]
    alone = [float(lesson.loss({"logits": exits[:, j]}, true, None, PLAIN)) for j in range(3)]
    loss = lesson.loss({"logits": exits[:, 2], "exit_logits": exits}, true, None, PLAIN)
    assert float(loss) == pytest.approx(np.dot(alone, [1, 2, 3]) / 6, rel=1e-6)
