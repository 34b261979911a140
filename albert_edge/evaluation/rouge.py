"""ROUGE: the words, word pairs and word sequences that a summary and a reference have in common.

Lin 2004 (aclanthology.org/W04-1013), with the tokenization and the F-measure of the package
rouge_score, whose scores are the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from albert_edge.errors import requires_extra
from albert_edge.evaluation.metrics import f_measure

__all__ = ["rouge"]

Stemmer = Callable[[str], str]
_WORDS = re.compile("[a-z0-9]+")


class Rouge(NamedTuple):
    """The F-measures, in [0, 1].

    Attributes:
        rouge1: Of words.
        rouge2: Of pairs of neighbouring words.
        rougeL: Of the longest common subsequence of words.
    """

    rouge1: float
    rouge2: float
    rougeL: float  # noqa: N815  its usual name


def rouge(summary: str, references: Sequence[str], *, stemmer: Stemmer | None = None) -> Rouge:
    """Score a summary; of several references, each F-measure takes the best.

    Args:
        summary: The text to score.
        references: At least one reference summary.
        stemmer: Stems words of over three letters; None leaves them.

    Example:
        >>> rouge("the mill by the river", ["a mill by the sea"]).rouge1
        0.6
    """
    words = _words(summary, stemmer)
    scores = [_score(words, _words(reference, stemmer)) for reference in references]
    return Rouge(*(max(column) for column in zip(*scores, strict=True)))


def porter_stemmer() -> Stemmer:
    """Return Porter's stemmer with NLTK's extensions, which most published scores use.

    Raises:
        MissingExtraError: NLTK is not installed.
    """
    with requires_extra():
        from nltk.stem.porter import PorterStemmer
    stem: Stemmer = PorterStemmer().stem
    return stem


def _words(text: str, stemmer: Stemmer | None) -> list[str]:
    words = _WORDS.findall(text.lower())
    return [stemmer(word) if stemmer and len(word) > 3 else word for word in words]


def _score(summary: list[str], reference: list[str]) -> Rouge:
    longest = _longest_common(summary, reference)
    return Rouge(
        _ngram_f1(summary, reference, 1),
        _ngram_f1(summary, reference, 2),
        f_measure(longest, len(summary), len(reference)),
    )


def _ngram_f1(summary: list[str], reference: list[str], size: int) -> float:
    first, second = (
        Counter(zip(*(words[start:] for start in range(size)), strict=False))
        for words in (summary, reference)
    )
    common = sum((first & second).values())
    return f_measure(common, sum(first.values()), sum(second.values()))


def _longest_common(first: list[str], second: list[str]) -> int:
    # The length of the longest common subsequence, a row of the table in the bits of one number
    # (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").
    positions: dict[str, int] = {}
    for index, word in enumerate(first):
        positions[word] = positions.get(word, 0) | 1 << index
    row = every = (1 << len(first)) - 1
    for word in second:
        found = row & positions.get(word, 0)
        row = (row + found | row - found) & every
    return len(first) - bin(row).count("1")
