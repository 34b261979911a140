"""SQuAD: its files, and its scores as the official evaluators of versions 1.1 and 2.0 count them.

Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from albert_edge.evaluation.metrics import f_measure

__all__ = ["best_threshold", "exact_score", "f1_score", "normalize_answer", "references"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def references(answers: Sequence[str], *, second: bool) -> Sequence[str]:
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
