"""`QuestionAnsweringObjective`: the answer's tokens in windows of its context."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albert_edge.errors import InputError, TrainingError
from albert_edge.tokenizer import Tokenizer
from training.samples import OPTIONS, learn, make_texts, write_squad
from training.tasks.samples import TEXT, draw, read, squad


def test_questions(tmp_path: Path, toy_shape: Path) -> None:
    report = learn(write_squad(tmp_path / "questions.json", make_texts(100)), toy_shape)
    assert report["task"] == "question-answering"
    # One word of three to six is right.
    assert report["dev_metrics"]["f1"] > 0.7
    assert report["kept_epoch"] == OPTIONS.epochs


def test_an_answer_that_is_not_there_is_refused(tmp_path: Path, toy_shape: Path) -> None:
    path = write_squad(tmp_path / "questions.json", make_texts(3))
    path.write_text(path.read_text().replace('"answer_start": ', '"answer_start": 1'))
    with pytest.raises((TrainingError, InputError), match="question"):
        learn(path, toy_shape)
    assert not (tmp_path / "model").exists()


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
