"""Which tokens make up which word of a text, and which words an entity."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from albert_edge.tokenizer.base import Span

__all__ = ["Word", "align_words", "bio_to_entities", "first_tokens", "parse_bio_tag"]

_PREFIXED = re.compile(r"([BIESLU])-(.+)", re.DOTALL)  # of the schemes IOB, IOBES and BILOU
_CLOSING = ("E-", "L-", "S-", "U-")


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        start, end: Its place, in code points of the text.
        tokens: Where its tokens are in the list of tokens; at least one, consecutive.
    """

    start: int
    end: int
    tokens: list[int]


def align_words(text: str, spans: Sequence[Span]) -> list[Word]:
    """Put tokens together to words.

    A word ends at white space and at punctuation, which is a word of its own.  An apostrophe or a
    hyphen between two letters, and a point or a comma between two digits, are part of their word;
    an ideograph is not, unless the tokenizer kept several together.  A token that only marks where
    a word begins belongs to that word.

    Args:
        text: What was tokenized.
        spans: The tokens' places in it; neither starts nor ends decrease.

    Returns:
        The words, in order; they do not overlap.

    Example:
        >>> [w.start for w in merge_words("O'Hara, 3.5", [(0, 1), (1, 3), (3, 7), (8, 11)])]
        [0, 8]
        >>> [(w.start, w.end) for w in merge_words("so, no", [(0, 2), (2, 3), (4, 6)])]
        [(0, 2), (2, 3), (4, 6)]
    """
    words: list[Word] = []
    marks: list[int] = []
    for index, (start, end) in enumerate(spans):
        if start == end:
            marks.append(index)
            continue
        reach = words[-1].end if words else 0
        if words and (start < reach or not (marks or _is_seam(text, reach, start))):
            word = words[-1]
            words[-1] = Word(word.start, max(end, reach), [*word.tokens, *marks, index])
        else:
            words.append(Word(start, end, [*marks, index]))
        marks = []
    return words


def first_tokens(words: Sequence[str], offsets: Sequence[Span | None]) -> list[int | None]:
    """Find the first token of every word, which is the one that says its label.

    Args:
        words: What was tokenized, with a space between.
        offsets: The tokens' places in it; None for special ones.

    Returns:
        For every word the place of its first token among all; None for a word that was cut off.

    Example:
        >>> first_tokens(["so", "no"], [None, (0, 1), (1, 2), (3, 5), None])
        [1, 3]
    """
    tokens = [(*span, place) for place, span in enumerate(offsets) if span is not None]
    found: list[int | None] = []
    begin, at = 0, 0
    for word in words:
        while at < len(tokens) and tokens[at][1] < begin:  # not one that marks the word's start
            at += 1
        stop = begin + len(word)
        found.append(tokens[at][2] if at < len(tokens) and tokens[at][0] < stop else None)
        begin = stop + 1
    return found


def bio_to_entities(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Find the entities in the labels of consecutive words.

    A word goes on with the entity before it if its label is of the same kind, does not say that it
    begins one (`B-`), and the label before does not say that it ends one (`E-`); `O` is of none.

    Args:
        labels: One a word, such as `B-PER`, or without such a prefix.

    Returns:
        Every entity's kind, and its first word and the one behind its last.

    Example:
        >>> group_words(["O", "B-PER", "I-PER", "B-PER", "O"])
        [('PER', 1, 3), ('PER', 3, 4)]
    """
    entities: list[tuple[str, int, int]] = []
    for index, label in enumerate(labels):
        begins, kind = parse_bio_tag(label)
        if kind is None:
            continue
        begins = begins or (index > 0 and labels[index - 1].startswith(_CLOSING))
        if entities and not begins and entities[-1][0] == kind and entities[-1][2] == index:
            entities[-1] = (kind, entities[-1][1], index + 1)
        else:
            entities.append((kind, index, index + 1))
    return entities


def parse_bio_tag(label: str) -> tuple[bool, str | None]:
    """Tell whether a word with this label begins an entity, and the kind of it; None for `O`."""
    if label == "O":
        return False, None
    found = _PREFIXED.fullmatch(label)
    return (found[1] in "BSU", found[2]) if found else (False, label)


def _is_seam(text: str, reach: int, start: int) -> bool:
    """Tell whether a word ends between a token that ends at `reach` and the next at `start`."""
    if any(char.isspace() for char in text[reach:start]):
        return True
    left, right = text[start - 1], text[start]
    if _is_letter(left) and _is_letter(right):
        return False
    before, mark, after = text[max(start - 2, 0) : start - 1], left, right
    if not _is_letter(right):
        before, mark, after = left, right, text[start + 1 : start + 2]
    if mark in "'’-":
        return not (_is_letter(before) and _is_letter(after))
    return not (mark in ".," and before.isdigit() and after.isdigit())


def _is_letter(char: str) -> bool:
    # Letters, digits and the marks on them, but no ideographs.
    if not char or "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff":
        return False
    return char < "\U00020000" and unicodedata.category(char)[0] in "LMN"
