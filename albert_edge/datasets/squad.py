"""Read SQuAD's files (Rajpurkar et al. 2016, arXiv:1606.05250, and 2018, arXiv:1806.03822)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from albert_edge.datasets.tables import DataSource, OnBadRow, raise_error, read_text
from albert_edge.errors import InputError
from albert_edge.files import parse_json


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


def read_squad(path: DataSource, *, on_bad: OnBadRow = raise_error) -> tuple[list[Question], bool]:
    """Read the questions of a SQuAD file.

    Args:
        path: The file.
        on_bad: Called with the error of an invalid question; if it returns, the question is left
            out.

    Returns:
        The questions, at least one, and whether they are scored as in SQuAD 2.0: the file's version
        is 2, or a question has no answer.

    Raises:
        InputError: The file cannot be read, has another form, or no question.
    """
    text = read_text(path)
    if is_json_lines(text):
        raise InputError(f"{path} holds JSON lines, not SQuAD's JSON; name it .jsonl.")
    document = parse_json(text, where=str(path), error=InputError)
    questions: list[Question] = []
    for article in _list(document, "data", str(path)):
        for paragraph in _list(article, "paragraphs", f"{path}: an article"):
            entries: list[Any] = []
            try:
                context = _text(paragraph, "context", f"{path}: a paragraph")
                entries = _list(paragraph, "qas", f"{path}: a paragraph")
            except InputError as error:
                on_bad(error)
            for entry in entries:
                try:
                    questions.append(_question(entry, context, path))
                except InputError as error:
                    on_bad(error)
    if not questions:
        raise InputError(f"{path} has no questions.")
    second = str(document.get("version", "")).lstrip("v").startswith("2")
    return questions, second or not all(question.answers for question in questions)


def is_json_lines(text: str) -> bool:
    """Return whether a text is a JSON object a line, and so no JSON document.

    Example:
        >>> is_json_lines('{"text": "a"}\\n{"text": "b"}'), is_json_lines('{"data": []}')
        (True, False)
    """
    first, _, rest = text.strip().partition("\n")
    return first.startswith("{") and first.rstrip().endswith("}") and rest.lstrip()[:1] == "{"


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
