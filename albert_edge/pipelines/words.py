"""Align tokens with the words of a text, and group words into entities by their BIO tags."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from albert_edge.tokenizer.base import Span

__all__ = ["bio_to_entities", "first_tokens"]

# A tag of the schemes IOB, IOBES, BILOU or BMES, where M is I, L is E, and U and W are S.
_TAG = r"(?s)([BIESLUMW])(?:-(.*))?"
_NAMELESS = "_"  # the type of tags without one, as seqeval calls it
# The scripts that are written without spaces between words: those of line-breaking class SA
# (Unicode, UAX #14), ideographs, kana and bopomofo with their marks, Yi, and Tibetan.
_SPACELESS = (  # compiled when it is needed: large classes take milliseconds
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u19e0-\u19ff"
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3040-\u312f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9f"
    "\U00011700-\U0001174f\U00016fe0-\U00018cff\U0001aff0-\U0001b16f\U0001b170-\U0001b2ff"
    "\U00020000-\U0003ffff]"
)


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        start, end: Its place, in code points of the text.
        tokens: The indices of its tokens; at least one, consecutive.
    """

    start: int
    end: int
    tokens: list[int]


def align_words(text: str, spans: Sequence[Span]) -> list[Word]:
    """Group tokens into words.

    A word ends at white space and at punctuation, which is a word of its own.  An apostrophe or a
    hyphen between two letters, and a full stop or a comma between two digits, are part of their
    word.  In scripts without spaces between words (ideographs, kana, Thai, Lao, Khmer, ...) every
    token is a word, as with transformers' aggregation strategy `simple`.  A zero-width token, which
    only marks the beginning of a word, belongs to that word.

    Args:
        text: The text.
        spans: The places of its tokens; neither starts nor ends decrease.

    Returns:
        The words, in order; they do not overlap.

    Example:
        >>> [w.start for w in align_words("O'Hara, 3.5", [(0, 1), (1, 3), (3, 7), (8, 11)])]
        [0, 8]
        >>> [(w.start, w.end) for w in align_words("so, no", [(0, 2), (2, 3), (4, 6)])]
        [(0, 2), (2, 3), (4, 6)]
    """
    words: list[Word] = []
    zero_width: list[int] = []
    for index, (start, end) in enumerate(spans):
        if start == end:
            zero_width.append(index)
            continue
        last_end = words[-1].end if words else 0
        if words and (
            start < last_end or not (zero_width or _is_word_boundary(text, last_end, start))
        ):
            word = words[-1]
            tokens = [*word.tokens, *zero_width, index]
            words[-1] = Word(word.start, max(end, last_end), tokens)
        else:
            words.append(Word(start, end, [*zero_width, index]))
        zero_width = []
    return words


def first_tokens(words: Sequence[str], offsets: Sequence[Span | None]) -> list[int | None]:
    """Find the first token of every word, which carries the word's label.

    Args:
        words: The words, which were tokenized as one text with a space between.
        offsets: The places of the tokens in that text; None for special ones.

    Returns:
        The position of every word's first token among all; None for a word that was cut off.

    Example:
        >>> first_tokens(["so", "no"], [None, (0, 1), (1, 2), (3, 5), None])
        [1, 3]
    """
    tokens = [(*span, position) for position, span in enumerate(offsets) if span is not None]
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

    A word continues the entity before it if its label is of the same type and is not marked as a
    beginning (`B-`), and the label before is not marked as an end (`E-`).  `O` is of no type, and
    `B`, `I`, `E` and `S` alone are of one type, `_`.

    Args:
        labels: One for each word, such as `B-PER`, or without a prefix.

    Returns:
        Every entity's type, its first word and the one behind its last.

    Example:
        >>> bio_to_entities(["O", "B-PER", "I-PER", "B-PER", "O"])
        [('PER', 1, 3), ('PER', 3, 4)]
        >>> bio_to_entities(["B-ORG", "M-ORG", "E-ORG", "B", "I"])
        [('ORG', 0, 3), ('_', 3, 5)]
    """
    entities: list[tuple[str, int, int]] = []
    for index, label in enumerate(labels):
        begins, entity_type = parse_bio_tag(label)
        if entity_type is None:
            continue
        begins = begins or (index > 0 and _is_end(labels[index - 1]))
        if entities and not begins and entities[-1][::2] == (entity_type, index):
            entities[-1] = (entity_type, entities[-1][1], index + 1)
        else:
            entities.append((entity_type, index, index + 1))
    return entities


def parse_bio_tag(label: str) -> tuple[bool, str | None]:
    """Return whether a label begins an entity, and the entity's type; None for `O`."""
    if label == "O":
        return False, None
    tag = re.fullmatch(_TAG, label)
    return (tag[1] in "BSUW", tag[2] or _NAMELESS) if tag else (False, label)


def _is_end(label: str) -> bool:
    tag = re.fullmatch(_TAG, label)
    return tag is not None and tag[1] in "ELSUW"


def _is_word_boundary(text: str, end: int, start: int) -> bool:
    """Return whether a word ends between a token that ends at `end` and the next at `start`."""
    if any(char.isspace() for char in text[end:start]):
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
    # Letters, digits and the marks on them, of scripts with spaces between words.
    return bool(char) and not re.match(_SPACELESS, char) and unicodedata.category(char)[0] in "LMN"
