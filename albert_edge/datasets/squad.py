"""Read SQuAD's files (Rajpurkar et al. 2016, arXiv:1606.05250, and 2018, arXiv:1806.03822)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from albert_edge.datasets.tables import DataSource, read_text
from albert_edge.errors import InputError
from albert_edge.files import parse_json

__all__ = ["Question", "read_squad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of SQuAD.

    Attributes:
        id: The key of its prediction.
        question, context: The inputs of the model.
        answers: The annotators' answers; none if the question has no answer.
        start: The position in the context at which the first answer begins, in code points; None
            if the file does not give it.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    start: int | None = None


def read_squad(path: DataSource) -> tuple[list[Question], bool]:
    """Read the questions of a SQuAD file.

    Returns:
        The questions, at least one, and whether they are scored as in SQuAD 2.0: the file's version
        is 2, or a question has no answer.

    Raises:
        InputError: The file cannot be read, has another form, no question, or one id twice.
    """
    document = parse_json(read_text(path), where=str(path), error=InputError)
    questions: dict[str, Question] = {}
    for article in _list(document, "data", str(path)):
        for paragraph in _list(article, "paragraphs", f"{path}: an article"):
            context = _text(paragraph, "context", f"{path}: a paragraph")
            for entry in _list(paragraph, "qas", f"{path}: a paragraph"):
                question = _question(entry, context, path)
                if question.id in questions:
                    raise InputError(f"{path}: two questions have the id {question.id!r}.")
                questions[question.id] = question
    if not questions:
        raise InputError(f"{path} has no questions.")
    second = str(document.get("version", "")).lstrip("v").startswith("2")
    return list(questions.values()), second or not all(q.answers for q in questions.values())


def _question(entry: Any, context: str, path: DataSource) -> Question:
    where = f"{path}: a question"
    identity = _text(entry, "id", where)
    where = f"{path}: question {identity}"
    answers = _list(entry, "answers", where)
    texts = tuple(_text(answer, "text", where) for answer in answers)
    start = answers[0].get("answer_start") if answers else None
    return Question(
        id=identity,
        question=_text(entry, "question", where),
        context=context,
        answers=texts,
        start=start if type(start) is int else None,
    )


def _get(values: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(values, Mapping) or not isinstance(values.get(key), kind):
        what = "text" if kind is str else "a list"
        has = ", ".join(map(str, values)) if isinstance(values, Mapping) else "no keys"
        raise InputError(f"{where} must have {what} under {key!r}, as SQuAD's JSON; it has: {has}.")
    return values[key]


def _text(values: Any, key: str, where: str) -> str:
    text: str = _get(values, key, str, where)
    return text


def _list(values: Any, key: str, where: str) -> list[Any]:
    entries: list[Any] = _get(values, key, list, where)
    return entries
