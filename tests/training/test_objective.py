"""What all objectives have in common: class weights, padding, and data that cannot be used."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.errors import InputError, TrainingError
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.objective import IGNORE_INDEX, class_weights, reject_class_weights
from training.tasks.samples import PLAIN, draw, lesson_in, read, squad


@pytest.mark.parametrize(
    ("name", "content", "kind", "labels", "message"),
    [
        ("a.tsv", "text\tlabel\na\t0\nb\t0\n", "classification", "01", "no example has label 1"),
        ("a.tsv", "text\tlabel\na\t0\nb\t0\n", "multi-label", "01", "no example has label 1"),
        ("a.tsv", "text\tlabel\na\t2.5\nb\t2.5\n", "regression", "x", "have the same number"),
        ("a.conll", "a O\nb O\n", "token-classification", "OB", "all words have the same label"),
        ("a.json", squad(("c", [])), "question-answering", "", "no question has an answer"),
    ],
)
def test_nothing_to_learn(
    tmp_path: Path, name: str, content: str, kind: str, labels: str, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        read(tmp_path, name, content, kind, *labels).check(PLAIN)


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ("text\tlabel\na\tyes\n", "classification", r"line 2: label 'yes' is none of a, b"),
        ("text\tlabel\na\ta,c\n", "multi-label", r"line 2: label 'c' is none of a, b"),
        ("text\tlabel\na\t1\n", "regression", r"line 2: expected 2 numbers"),
        ("text\tlabel\n", "classification", "has no examples"),
        ("text\ttext_pair\tlabel\na\t \ta\n", "classification", "line 2: the second text is blank"),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, content: str, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, "a.tsv", content, kind, "a", "b")


@pytest.mark.parametrize("setting", ["c=1", "a", "a=x", "a=0", "a=-1", "=1"])
def test_class_weights_that_cannot_be(setting: str) -> None:
    options = dataclasses.replace(PLAIN, class_weights=setting)
    with pytest.raises(TrainingError, match=r"class_weights (names|must be)"):
        lesson_in("classification", "a", "b").check(options)


def test_padding_and_ignored_tokens_cost_nothing(tmp_path: Path) -> None:
    content = squad(("a red fox", [{"text": "red"}]))
    questions = read(tmp_path, "a.json", content, "question-answering")
    words = read(tmp_path, "a.conll", "a O\nb B\n", "token-classification", "O", "B")
    mask, quiet = tf.constant([[1, 1, 1, 0]]), tf.constant([[0.1, 0.4, -0.2, 0.0]])
    loud = quiet + tf.constant([[0.0, 0.0, 0.0, 9.0]])  # said at the padding
    span, targets = tf.constant([[1.0, 2.0]]), tf.constant([[IGNORE_INDEX, 0.0, 1.0, IGNORE_INDEX]])
    for lesson, true, outputs in (
        (questions, span, lambda x: {"start_logits": x, "end_logits": x}),
        (words, targets, lambda x: {"logits": tf.stack([x, -x], axis=-1)}),
    ):
        losses = [float(lesson.loss(outputs(x), true, mask, PLAIN)) for x in (quiet, loud)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.jsonl", '{"text": "\\ufff9\\ufffd", "label": "a"}', "classification"),
        ("a.conll", "\ufffd a\n", "token-classification"),
        ("a.jsonl", '{"text": "\\ufffd", "summary": "fox"}', "summarization"),
    ],
)
def test_a_text_without_tokens_is_refused(
    tmp_path: Path, name: str, content: str, kind: str
) -> None:
    bert = tokenizer_from_files({"vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfox"})
    lesson = read(tmp_path, name, content, kind, "a", "b")
    with pytest.raises(TrainingError, match=r"line 1: the text is empty: it contains no"):
        draw(lesson, bert)


@given(
    st.sampled_from(["balanced", "none", "a=2", "b=0.5,a=3"]),
    st.lists(st.integers(1, 1000), min_size=2, max_size=2),
)
def test_the_mean_weight_over_all_examples_is_one(setting: str, counts: list[int]) -> None:
    weights = class_weights(setting, np.array(counts), ("a", "b"))
    assert np.average(weights, weights=counts) == pytest.approx(1)
    if setting == "balanced":
        assert weights[0] * counts[0] == pytest.approx(weights[1] * counts[1])
    elif setting != "none":
        ratio = {"a=2": 2, "b=0.5,a=3": 6}[setting]  # of the weight of a to that of b
        assert weights[0] / weights[1] == pytest.approx(ratio)


def test_weights_are_for_labels_only() -> None:
    for setting in (None, "none"):
        reject_class_weights(setting, "regression")
    with pytest.raises(TrainingError, match="are for labels, and regression has none"):
        reject_class_weights("balanced", "regression")
