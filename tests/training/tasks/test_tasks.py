"""What a lesson shows to a model, and what a model's answers cost."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError, TrainingError
from albert_edge.tokenizer import Tokenizer
from albert_edge.tokenizer.train import train_vocabulary
from albert_edge.training.objective import IGNORE_INDEX, EncodedEpoch, TaskObjective
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.tasks import OBJECTIVES
from albert_edge.training.tasks.classification import ClassificationObjective

PLAIN = FinetuneOptions(
    word_dropout=0.0, sampling=1.0, label_smoothing=0.0, max_length=12, window=24
)
TEXT = "a red fox met the lazy dog and the other red fox in Oslo , and Ada Lovelace saw it"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_vocabulary([TEXT] * 3, size=60)


def read(folder: Path, name: str, content: str, kind: str, *labels: str) -> TaskObjective:
    (folder / name).write_text(content)
    return OBJECTIVES[kind](read_examples(folder / name, kind, labels, EvaluateOptions()))


def draw(lesson: TaskObjective, tokenizer: Tokenizer, **options: Any) -> EncodedEpoch:
    return lesson.encode_epoch(
        tokenizer, dataclasses.replace(PLAIN, **options), np.random.default_rng(1)
    )


def squad(*entries: tuple[str, list[dict[str, object]]]) -> str:
    """Return the document of a context and answers each."""
    paragraphs = [
        {"context": text, "qas": [{"id": str(at), "question": "which fox ?", "answers": answers}]}
        for at, (text, answers) in enumerate(entries)
    ]
    return json.dumps({"version": "v2.0", "data": [{"paragraphs": paragraphs}]})


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


def test_the_first_token_of_a_word_says_its_label(tokenizer: Tokenizer, tmp_path: Path) -> None:
    labels = ("O", "B-PER", "I-PER", "B-LOC")
    content = "the O\nfox O\nAda B-PER\nLovelace I-PER\nsaw O\nOslo B-LOC\n"
    lesson = read(tmp_path, "a.conll", content, "token-classification", *labels)
    drawn = draw(lesson, tokenizer, max_length=40)
    encoding = tokenizer.encode("the fox Ada Lovelace saw Oslo")
    (row,) = drawn.targets
    assert (drawn.per_token, drawn.truncated, len(row)) == (True, 0, len(encoding.input_ids))
    starts = {0: 0.0, 4: 0.0, 8: 1.0, 12: 2.0, 21: 0.0, 25: 3.0}
    for offset, target in zip(encoding.offsets, row, strict=True):
        assert target == (IGNORE_INDEX if offset is None else starts.pop(offset[0], IGNORE_INDEX))
    assert not starts
    cut = draw(lesson, tokenizer, max_length=8)
    assert (cut.truncated, len(cut.targets[0])) == (1, 8)


def test_an_answer_is_whole_in_its_windows_or_they_point_to_cls(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    second = TEXT.rindex("red fox")
    content = squad(
        (TEXT, [{"text": "red fox", "answer_start": second}]),
        (TEXT, [{"text": "red fox"}]),
        (TEXT, []),
    )
    drawn = draw(read(tmp_path, "a.json", content, "question-answering"), tokenizer)
    count = len(drawn.input_ids) // 3
    assert count > 2
    found = []
    for ids, row in zip(drawn.input_ids, np.array(drawn.targets).astype(int), strict=True):
        assert len(ids) <= 24
        found.append(bool(row.any()))
        if row.any():
            assert tokenizer.decode(ids[row[0] : row[1] + 1]) == "red fox"
    late, early, none = (found[at * count : (at + 1) * count] for at in range(3))
    assert early[0]  # without an answer_start it is where the words are first
    assert any(late)
    assert not late[0]
    assert not all(early)
    assert not any(none)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"text": "blue fox"}, "question 0: the answer 'blue fox' is not in the context anywhere"),
        ({"text": "fox", "answer_start": 1}, "'fox' is not in the context at answer_start 1"),
        ({"text": " "}, "the answer ' ' is not in the context"),
    ],
)
def test_answers_that_are_not_there(
    tmp_path: Path, answer: dict[str, object], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        read(tmp_path, "a.json", squad((TEXT, [answer])), "question-answering")


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


def test_a_table_in_parquet_is_read_as_one_of_lines(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {"text": "a", "text_pair": "b", "label": 1},
        {"text": "c", "text_pair": "d", "label": 0},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    expected = read(tmp_path, "a.jsonl", lines, "classification", "0", "1").examples
    path = tmp_path / "a.parquet"
    found = read_examples(path, "classification", ("0", "1"), EvaluateOptions())
    assert (found.inputs, found.targets) == (expected.inputs, expected.targets)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet"):
        read_examples(path, "classification", ("0", "1"), EvaluateOptions())


def lesson_in(kind: str, *targets: Any) -> ClassificationObjective:
    names = [str(at) for at in range(len(targets))]
    texts = [{"text": "a"}] * len(targets)
    return ClassificationObjective(
        Examples(
            kind=kind, ids=names, places=names, inputs=texts, targets=targets, labels=("a", "b")
        )
    )


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


@pytest.mark.parametrize("setting", ["c=1", "a", "a=x", "a=0", "a=-1", "=1"])
def test_class_weights_that_cannot_be(setting: str) -> None:
    options = dataclasses.replace(PLAIN, class_weights=setting)
    with pytest.raises(TrainingError, match=r"class_weights (names|must be)"):
        lesson_in("classification", "a", "b").check(options)


def test_later_exits_count_more() -> None:
    lesson, true = lesson_in("classification", "a", "b"), TRUE[:2]
    exits = tf.stack([LOGITS[1:], -LOGITS[1:], LOGITS[:2]], axis=1)  # [B, L, C]
    alone = [float(lesson.loss({"logits": exits[:, j]}, true, None, PLAIN)) for j in range(3)]
    loss = lesson.loss({"logits": exits[:, 2], "exit_logits": exits}, true, None, PLAIN)
    assert float(loss) == pytest.approx(np.dot(alone, [1, 2, 3]) / 6, rel=1e-6)


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
