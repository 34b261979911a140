"""Labelled words: files with a word a line, and the F1 of the entities in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from albert_edge.errors import InputError
from albert_edge.evaluation.metrics import Metric, f_measure, of_sums
from albert_edge.pipelines.words import group_words
from albert_edge.tables import read_text

__all__ = ["Sentence", "read_conll", "tagging"]


class Sentence(NamedTuple):
    """A sentence of labelled words.

    Attributes:
        line: Where it begins in its file, from 1.
        words: Its words, at least one.
        labels: As many labels.
    """

    line: int
    words: list[str]
    labels: list[str]


def read_conll(path: Path) -> list[Sentence]:
    """Read a file as CoNLL-2003 has them: a word a line, in the first of its columns; the last has
    the label; spaces or tabs between; a blank line, or one that begins with -DOCSTART-, between
    sentences.

    Raises:
        InputError: The file cannot be read, has no words, or a line has no second column.
    """
    sentences: list[Sentence] = []
    within = False
    for line, text in enumerate(read_text(path).split("\n"), 1):
        columns = text.split()
        if not columns or columns[0] == "-DOCSTART-":
            within = False
            continue
        if len(columns) < 2:
            raise InputError(
                f"{path}, line {line}: expected a word and its label with white space between, as "
                f"in CoNLL's files, got {text.strip()[:40]!r}."
            )
        if not within:
            sentences.append(Sentence(line, [], []))
            within = True
        sentences[-1].words.append(columns[0])
        sentences[-1].labels.append(columns[-1])
    if not sentences:
        raise InputError(f"{path} has no words; it needs a word and its label on every line.")
    return sentences


def tagging(predictions: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> list[Metric]:
    """Return the F1, precision and recall of entities, and the accuracy of words.

    An entity is right if its kind, its first and its last word are (Tjong Kim Sang & De Meulder
    2003, arXiv:cs/0306050); entities begin and end as in `group_words`, and as in seqeval.
    """
    found = [set(group_words(labels)) for labels in predictions]
    true = [set(group_words(labels)) for labels in targets]
    hits = [len(ours & theirs) for ours, theirs in zip(found, true, strict=True)]
    claims, truths = [len(each) for each in found], [len(each) for each in true]
    right = [
        sum(one == other for one, other in zip(ours, theirs, strict=True))
        for ours, theirs in zip(predictions, targets, strict=True)
    ]
    return [
        of_sums("f1", [hits, claims, truths], lambda sums: f_measure(*sums)),
        of_sums("precision", [hits, claims], lambda sums: sums[0] / sums[1] if sums[1] else 0.0),
        of_sums("recall", [hits, truths], lambda sums: sums[0] / sums[1] if sums[1] else 0.0),
        of_sums("accuracy", [right, [*map(len, targets)]], lambda sums: sums[0] / sums[1]),
    ]
