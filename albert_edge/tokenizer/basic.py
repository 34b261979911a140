"""Cut text into words as BERT's original tokenizer does, and remember where characters came from.

The original (google-research/bert, `tokenization.BasicTokenizer`; Hugging Face's slow
`BertTokenizer`) works on whole strings: lower each character, drop control characters, put spaces
around Chinese ones, compose (NFC), split at white space, decompose (NFD), drop combining marks,
split at punctuation.  Here the text is cut first, into units that no later step reaches across:
then a unit that was seen before need not be worked out again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Word", "find_units", "keep_characters", "split_words"]

# Python's white space but for the control characters in it, which are dropped.
_SPACE = "\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CHINESE = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf"
    "\U0002f800-\U0002fa1f"
)
_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"


def _unit(chinese: str) -> re.Pattern[str]:
    # One Chinese character; an ASCII word; an ASCII mark; anything else up to white space.  A mark
    # may become another character with what comes after it, unless that is ASCII or nothing.
    mark = rf"[{_ASCII_PUNCTUATION}](?![^\0-\x7f])"
    return re.compile(
        (f"[{chinese}]|" if chinese else "")
        + rf"[0-9A-Za-z]+(?=[{_SPACE}]|\Z|{mark})|{mark}|[^{_SPACE}{chinese}]+"
    )


_UNITS = {True: _unit(_CHINESE), False: _unit("")}
_SPACES = re.compile(f"[{_SPACE}]+")
_PUNCTUATION = re.compile(f"[{_ASCII_PUNCTUATION}]")

_Fold = Callable[[str], str]


class Word(NamedTuple):
    """A word or a punctuation mark, and where it came from.

    Attributes:
        text: The word after folding, C characters.
        starts: C numbers, the place in the source where each character starts, in code points.
        ends: C numbers, the place where it ends.  A dropped mark belongs to what is before it.
    """

    text: str
    starts: list[int]
    ends: list[int]


def keep_characters(text: str) -> tuple[str, list[int] | None]:
    """Drop control characters, unassigned ones and U+FFFD.

    Returns:
        What is kept, and the place in `text` of each character of it; None if nothing was dropped.
    """
    if _SPACES.sub(" ", text).isprintable() and "\ufffd" not in text:
        return text, None
    # Not printable (Python) are the separators (Unicode's category Z) and the others (C).
    places = [
        at
        for at, char in enumerate(text)
        if (char.isprintable() or _SPACES.match(char)) and char != "\ufffd"
    ]
    return "".join(map(text.__getitem__, places)), places


def find_units(text: str, *, tokenize_chinese_chars: bool) -> Iterator[re.Match[str]]:
    """Find the units of `text`, from which `keep_characters` has dropped what is to be dropped."""
    return _UNITS[tokenize_chinese_chars].finditer(text)


def split_words(unit: str, *, do_lower_case: bool, strip_accents: bool) -> list[Word]:
    """Fold the characters of a unit, and split it at punctuation.

    Example:
        >>> split_words("Caf\u00e9!", do_lower_case=True, strip_accents=True)
        [Word(text='cafe', starts=[0, 1, 2, 3], ends=[1, 2, 3, 4]), Word(text='!', starts=[4], ...
    """
    text, starts, ends = _align(unit, lambda part: _fold(part, do_lower_case, strip_accents))
    words = []
    begin = 0
    for at, char in enumerate(text):
        if _is_punctuation(char):
            words += [(begin, at), (at, at + 1)]
            begin = at + 1
    words.append((begin, len(text)))
    return [Word(text[a:b], starts[a:b], ends[a:b]) for a, b in words if a < b]


def _align(unit: str, fold: _Fold) -> Word:
    parts = list(map(fold, unit))
    if "".join(parts) == (folded := fold(unit)):
        sources = list(unit)
    else:  # characters that meet compose or change places
        sources = list(_clusters(unit, fold))
        parts = list(map(fold, sources))
    starts: list[int] = []
    ends: list[int] = []
    end = 0
    for source, part in zip(sources, parts, strict=True):
        start, end = end, end + len(source)
        starts += [start] * len(part)
        ends += [end] * len(part)
        if not part and ends:
            ends[-1] = end
    return Word(folded, starts, ends)


def _clusters(unit: str, fold: _Fold) -> Iterator[str]:
    """Cut `unit` into the shortest parts that fold by themselves as they do in it."""
    cluster = ""
    for char in unit:
        starter = not unicodedata.combining(unicodedata.normalize("NFD", char)[0])
        if cluster and starter and fold(cluster + char) == fold(cluster) + fold(char):
            yield from _shortest(cluster, fold)
            cluster = ""
        cluster += char
    yield from _shortest(cluster, fold)


def _shortest(cluster: str, fold: _Fold) -> Iterator[str]:
    apart = "".join(map(fold, cluster)) == fold(cluster)
    yield from cluster if apart else [cluster]


def _fold(text: str, do_lower_case: bool, strip_accents: bool) -> str:
    return (_fold_char if len(text) == 1 else _fold_text)(text, do_lower_case, strip_accents)


def _fold_text(text: str, do_lower_case: bool, strip_accents: bool) -> str:
    if do_lower_case:  # each character by itself: no capital sigma looks at its neighbours
        text = "".join(map(str.lower, text))
    if not strip_accents:
        return unicodedata.normalize("NFC", text)
    return "".join(
        char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn"
    )


_fold_char = lru_cache(maxsize=1 << 14)(_fold_text)


@lru_cache(maxsize=1 << 14)
def _is_punctuation(char: str) -> bool:
    return bool(_PUNCTUATION.match(char)) or unicodedata.category(char)[0] == "P"
