"""Read files in CoNLL's form: a word and its label on every line."""

from __future__ import annotations

from typing import NamedTuple

from albert_edge.datasets.tables import DataSource, read_text
from albert_edge.errors import InputError

__all__ = ["TaggedSentence", "read_conll"]


class TaggedSentence(NamedTuple):
    """A sentence of labelled words.

    Attributes:
        line: The line of the file at which it begins, from 1.
        words: Its words, at least one.
        labels: The label of each word.
    """

    line: int
    words: list[str]
    labels: list[str]


def read_conll(path: DataSource) -> list[TaggedSentence]:
    """Read the sentences of a file in the form of CoNLL-2003.

    Every line has a word in its first column and the word's label in its last; spaces or tabs part
    the columns.  A blank line, or one that begins with -DOCSTART-, parts the sentences.

    Raises:
        InputError: The file cannot be read, has no words, or has a line of one column.
    """
    sentences: list[TaggedSentence] = []
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
            sentences.append(TaggedSentence(line, [], []))
            within = True
        sentences[-1].words.append(columns[0])
        sentences[-1].labels.append(columns[-1])
    if not sentences:
        raise InputError(f"{path} has no words; it needs a word and its label on every line.")
    return sentences
