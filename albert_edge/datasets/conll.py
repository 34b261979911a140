"""Read files in CoNLL's form: a word and its label on every line."""

from __future__ import annotations

import re
from typing import NamedTuple

from albert_edge.datasets.tables import DataSource, OnBadRow, raise_error, read_text
from albert_edge.errors import InputError

__all__ = ["TaggedSentence", "read_conll"]

_SPACE = " \t\r\f\v"
_TAG = re.compile(r"O|[BIESLUMW](-.+)?")  # of the schemes IOB, IOBES, BILOU and BMES
# A comment of Universal Dependencies, such as `# sent_id = 1` or `# newdoc id = a`.
_COMMENT = re.compile(r"# *(?:[\w.:-]+(?: \w+)? ?=(?: |$)|new(?:doc|par)$)")


class TaggedSentence(NamedTuple):
    """A sentence of labelled words.

    Attributes:
        lines: The line of the file of each word, from 1.
        words: Its words, at least one.
        labels: The label of each word.
    """

    lines: list[int]
    words: list[str]
    labels: list[str]


def read_conll(path: DataSource, *, on_bad: OnBadRow = raise_error) -> list[TaggedSentence]:
    """Read the sentences of a file in the form of CoNLL-2003.

    Every line has a word in its first column and the word's label in its last.  Tabs part the
    columns of a line that has any, and a word may then contain spaces; otherwise spaces do.  A
    blank line, or one that begins with -DOCSTART-, parts the sentences.  A line that begins with
    `# ` and has no column of labels is a comment.

    Args:
        path: The file.
        on_bad: Called with the error of a line of one column, or of one that may be a comment; if
            it returns, the sentence is left out.

    Raises:
        InputError: The file cannot be read, or has no words.
    """
    rows = [(text.strip(_SPACE), _columns(text)) for text in read_text(path).split("\n")]
    words = [(text, c) for text, c in rows if c and c[0] != "-DOCSTART-" and c[0][:1] != "#"]
    tabs = any("\t" in text for text, _ in words)
    widths = {len(columns) for _, columns in words}
    labels = {columns[-1] for _, columns in words}
    sentences: list[TaggedSentence] = []
    error: InputError | None
    sentence, error = TaggedSentence([], [], []), None
    for line, (text, columns) in enumerate([*rows, ("", [])], 1):
        if columns and columns[0] != "-DOCSTART-":
            if text.startswith("# ") and (
                len(columns) not in widths or _COMMENT.match(text) or (tabs and "\t" not in text)
            ):
                continue
            if error is None:
                error = _error(columns, text, labels, f"{path}, line {line}")
            sentence.lines.append(line)
            sentence.words.append(columns[0])
            sentence.labels.append(columns[-1])
        elif sentence.words:
            sentences += [] if error else [sentence]
            if error:
                on_bad(error)
            sentence, error = TaggedSentence([], [], []), None
    if not sentences:
        raise InputError(f"{path} has no words; it needs a word and its label on every line.")
    return sentences


def _columns(text: str) -> list[str]:
    # Only ASCII white space parts columns: a no-break space may be part of a word, or all of it.
    text = text.strip(_SPACE)
    if "\t" in text:
        return [column.strip(_SPACE) for column in text.split("\t")]
    return [] if text.isspace() else [column for column in text.split(" ") if column]


def _error(columns: list[str], text: str, labels: set[str], where: str) -> InputError | None:
    if len(columns) < 2 or not columns[0] or not columns[-1]:
        return InputError(
            f"{where}: expected a word and its label with white space between, as in CoNLL's "
            f"files, got {text[:40]!r}."
        )
    if text.startswith("# ") and columns[-1] not in labels and not _TAG.fullmatch(columns[-1]):
        return InputError(
            f"{where}: {text[:40]!r} may be a comment or the word '#'; no other line has the label "
            f"{columns[-1][:40]!r}. Remove the line, or use tabs between words and labels."
        )
    return None
