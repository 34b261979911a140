"""SQuAD's exact match and F1, as the official evaluators of versions 1.1 and 2.0 compute them.

Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from albert_edge.evaluation.metrics import f_measure

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def references(answers: Sequence[str], *, squad_v2: bool) -> Sequence[str]:
    """Return the answers of a question to compare predictions with.

    In SQuAD 2.0 these are the ones that `normalize_answer` does not make empty, or "" alone if
    there is none.
    """
    if not squad_v2:
        return answers
    return [text for text in answers if normalize_answer(text)] or [""]


def normalize_answer(text: str) -> str:
    """Lower the case, remove ASCII punctuation, then articles, then superfluous white space.

    Example:
        >>> normalize_answer("The  U.S. (an ally)")
        'us ally'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_score(answer: str, references: Sequence[str]) -> bool:
    """Return whether an answer equals one of the references, both normalized."""
    normal = normalize_answer(answer)
    return any(normal == normalize_answer(reference) for reference in references)


def f1_score(answer: str, references: Sequence[str], *, squad_v2: bool) -> float:
    """Return the best F1 of an answer's words against those of one of the references.

    Where the answer or the reference has no words, SQuAD 2.0 gives 1 if neither has, and SQuAD 1.1
    gives 0.
    """
    words = normalize_answer(answer).split()
    return max(_f1(words, normalize_answer(each).split(), squad_v2) for each in references)


def best_threshold(
    scores: Sequence[float],
    answered: Sequence[bool],
    has_answer: Sequence[bool],
    null_odds: Sequence[float],
) -> tuple[float, float]:
    """Find the no-answer threshold with the best mean score, as SQuAD 2.0's evaluator does.

    A prediction counts as "no answer" if its odds exceed the threshold.  Like the official one,
    this tries a threshold behind every question, also between two of the same odds, and returns 0
    for the threshold if answering nothing is best.

    Args:
        scores: The score of each answer, n numbers.
        answered: Whether the prediction is not empty.
        has_answer: Whether the question has an answer.
        null_odds: The odds of no answer: n numbers on any scale.

    Returns:
        The best mean score, and its threshold.
    """
    best = score = float(len(has_answer) - sum(has_answer))
    threshold = 0.0
    for index in sorted(range(len(null_odds)), key=null_odds.__getitem__):
        score += scores[index] if has_answer[index] else -float(answered[index])
        if score > best:
            best, threshold = score, null_odds[index]
    return best / len(scores), threshold


def _f1(words: list[str], reference: list[str], squad_v2: bool) -> float:
    if squad_v2 and not (words and reference):
        return float(words == reference)
    hits = sum((Counter(words) & Counter(reference)).values())
    return f_measure(hits, len(words), len(reference))
