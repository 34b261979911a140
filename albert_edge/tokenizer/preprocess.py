"""Prepare text as ALBERT's original tokenizer does, and remember where every character came from.

The original (google-research/albert, `tokenization.preprocess_text`; Hugging Face's slow
`AlbertTokenizer`) works on whole strings: fold white space, turn doubled ` and ' into ", decompose
(NFKD), drop combining marks, lower the case.  Here this is done character by character, which is
the same but for three things: quotes are matched as pairs; NFKD reorders marks, but only such as
are dropped then; and the last lowering lets a capital sigma look at its neighbours, so it is done
on the whole string here too, where it changes no length any more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from albert_edge.tokenizer.settings import Settings

__all__ = ["Aligned", "preprocess"]

# Group 1: doubled quotes; 2: white space to fold; 3: a run that stays as it is, but for its case;
# none: any other character.
_UNIT = r"(``|'')|({})|([!-&(-_a-~]+(?:[ '`][!-&(-_a-~]+)*)|."
_FOLDING_SPACE = re.compile(_UNIT.format(r"\s+"), re.DOTALL)
_KEEPING_SPACE = re.compile(_UNIT.format("(?!)"), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Aligned:
    """A text made from another, and where it came from.

    Attributes:
        text: The text that was made, C characters.
        starts: C numbers, the place in the source where each character starts, in code points.
        ends: C numbers, the place where it ends.  A dropped mark belongs to what is before it.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def preprocess(text: str, settings: Settings) -> Aligned:
    """Prepare `text` for SentencePiece.

    Example:
        >>> preprocess("  Caf\u00e9 ``X''", Settings())
        Aligned(text='cafe "x"', starts=[2, 3, 4, 5, 6, 7, 9, 10], ends=[3, 4, 5, 6, 7, 9, 10, 12])
    """
    if text.isascii():
        source = text.strip() if settings.remove_space else text
        plain = " ".join(source.split()) if settings.remove_space else text
        plain = plain.replace("``", '"').replace("''", '"')
        if len(plain) == len(source):  # nothing moved but by what was before it
            first = text.find(source)
            plain = plain.lower() if settings.do_lower_case else plain
            return Aligned(
                plain, range(first, first + len(plain)), range(first + 1, first + len(plain) + 1)
            )
    return _by_units(text, settings)


def _by_units(text: str, settings: Settings) -> Aligned:
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    units = _FOLDING_SPACE if settings.remove_space else _KEEPING_SPACE
    for match in units.finditer(text):
        start, end = match.span()
        part = match.group()
        if match.lastindex == 3:
            parts.append(part)
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
            continue
        if match.lastindex == 1:
            part = '"'
        elif match.lastindex == 2:
            part = " " if start and end < len(text) else ""
        else:
            part = _fold(part, settings.do_lower_case, settings.keep_accents)
            if not part and ends:
                ends[-1] = end
        parts.append(part)
        starts.extend([start] * len(part))
        ends.extend([end] * len(part))
    plain = "".join(parts)
    return Aligned(plain.lower() if settings.do_lower_case else plain, starts, ends)


@lru_cache(maxsize=1 << 14)
def _fold(char: str, do_lower_case: bool, keep_accents: bool) -> str:
    # Hugging Face lowers each character by itself before anything else.
    char = char.lower() if do_lower_case else char
    if keep_accents:
        return char
    return "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
