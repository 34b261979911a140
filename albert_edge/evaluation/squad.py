"""SQuAD: its files, and its scores as the official evaluators of versions 1.1 and 2.0 count them.

Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_edge.errors import InputError
from albert_edge.evaluation.metrics import f_measure
from albert_edge.tables import read_json, read_text

__all__ = [
    "Question",
    "best_threshold",
    "exact_score",
    "f1_score",
    "normalize_answer",
    "read_squad",
    "true_answers",
]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of SQuAD.

    Attributes:
        id: What predictions are filed under.
        question, context: What the model is given.
        answers: The texts that people gave for answers; none if there is no answer.
        start: Where the first of them begins in the context, in code points, if the file says so.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    start: int | None = None


def read_squad(path: Path) -> tuple[list[Question], bool]:
    """Read a SQuAD file.

    Returns:
        The questions, at least one, and whether they are scored as in SQuAD 2.0: if the file says
        that it is of version 2, or if a question has no answer.

    Raises:
        InputError: The file cannot be read, is not of this form, has no question, or one twice.
    """
    document = read_json(read_text(path), where=str(path))
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


def true_answers(answers: Sequence[str], *, second: bool) -> Sequence[str]:
    """Return what to compare with, of a question's answers.

    In SQuAD 2.0 (`second`) these are the ones of which `normalize_answer` leaves something; or ""
    alone if there is none.
    """
    if not second:
        return answers
    return [text for text in answers if normalize_answer(text)] or [""]


def normalize_answer(text: str) -> str:
    """Lower the case; take out ASCII punctuation, then articles, then white space beyond one.

    Example:
        >>> normalize_answer("The  U.S. (an ally)")
        'us ally'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_score(answer: str, truths: Sequence[str]) -> bool:
    """Tell whether an answer equals one of `truths` but for what `normalize_answer` takes out."""
    normal = normalize_answer(answer)
    return any(normal == normalize_answer(truth) for truth in truths)


def f1_score(answer: str, truths: Sequence[str], *, second: bool) -> float:
    """Return the best F1 of an answer's words against those of one of `truths`.

    Where the answer or the truth has no words, SQuAD 2.0 (`second`) gives 1 if neither has, and
    SQuAD 1.1 gives 0.
    """
    return max(_f1(normalize_answer(answer), normalize_answer(truth), second) for truth in truths)


def best_threshold(
    scores: Sequence[float], answered: Sequence[bool], known: Sequence[bool], odds: Sequence[float]
) -> tuple[float, float]:
    """Find the no-answer threshold with the best mean score, as SQuAD 2.0's evaluator does.

    An answer stands while its odds do not exceed the threshold.  Like the official one, this looks
    at a threshold behind every question, also between two of the same odds, and returns 0 for the
    threshold if answering nothing is best.

    Args:
        scores: The score of each answer, n numbers.
        answered: Whether it is an answer at all.
        known: Whether the question has one.
        odds: That there is no answer: n numbers on any scale.

    Returns:
        The best mean score, and its threshold.
    """
    best = score = float(len(known) - sum(known))
    threshold = 0.0
    for index in sorted(range(len(odds)), key=odds.__getitem__):
        score += scores[index] if known[index] else -float(answered[index])
        if score > best:
            best, threshold = score, odds[index]
    return best / len(scores), threshold


def _f1(answer: str, truth: str, second: bool) -> float:
    words, true = answer.split(), truth.split()
    if second and not (words and true):
        return float(words == true)
    return f_measure(sum((Counter(words) & Counter(true)).values()), len(words), len(true))


def _question(entry: Any, context: str, path: Path) -> Question:
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
