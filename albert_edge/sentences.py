"""Cut text into sentences."""

from __future__ import annotations

import re

__all__ = ["split_sentences"]

# A run of closing marks, what closes after it, and the space behind; or the end of a line.  The
# look behind changes no match: it keeps a long run that ends no sentence from being tried at each
# of its marks.
_END = re.compile(r"(?<![.!?…])(?P<mark>[.!?…]+(?:\s[.!?…]+)*)(?P<close>[\"'”’»)\]]*)(?=\s)|(?=\n)")
_APART = re.compile(r"[^\S\n]+\"(?=\s|$)")
_CJK_END = re.compile(r"[。！？]+[”’」』）]*")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘]*$")
# A full stop behind these, or behind an initial, does not end a sentence.
_ABBREVIATIONS = re.compile(
    r"(?:mrs?|ms|dr|prof|sr|jr|st|rev|gen|col|lt|sgt|capt|hon|messrs|vs|etc|al|eqs?|figs?|sec|nos?|"
    r"vols?|pp|ca|cf|e\.?g|i\.?e|viz|resp|approx|dept|inc|ltd|co|corp|jan|feb|mar|apr|jun|jul|aug|"
    r"sept?|oct|nov|dec|mt|ft|u\.s|u\.k|[ap]\.m|[^\W\d_](?<!I))",
    re.IGNORECASE,
)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Return the place of every sentence: (start, end) in code points, without space around it.

    A sentence ends at a full stop, a question or exclamation mark with space behind it, or at the
    end of a line.  A full stop ends none behind an initial, a known abbreviation, or where a
    lower-case letter follows a single stop.

    Example:
        >>> text = "Dr. Who came in. He left at 4.30 p.m. sharp!"
        >>> [text[start:end] for start, end in split_sentences(text)]
        ['Dr. Who came in.', 'He left at 4.30 p.m. sharp!']
    """
    ends = {match.end() for match in _END.finditer(text) if _ends(text, match)}
    ends |= {match.end() for match in _CJK_END.finditer(text)}
    spans: list[tuple[int, int]] = []
    start = 0
    for end in [*sorted(ends), len(text)]:
        end = _closed(text, start, end)
        piece = text[start:end]
        if words := piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            if spans and not any(map(str.isalnum, words)):
                spans[-1] = (spans[-1][0], first + len(words))  # ` . . . "` ends what was before
            else:
                spans.append((first, first + len(words)))
        start = end
    return spans


def _closed(text: str, start: int, end: int) -> int:
    """Take in a quotation mark that stands apart behind the sentence and closes one inside it."""
    if text.count('"', start, end) % 2 and (mark := _APART.match(text, end)):
        return mark.end()
    return end


def _ends(text: str, match: re.Match[str]) -> bool:
    mark = match["mark"]
    if mark is None or mark != ".":
        return True
    word = _LAST_WORD.search(text, max(match.start() - 20, 0), match.start())
    last = word.group() if word else ""
    if _ABBREVIATIONS.fullmatch(last):
        return False
    following = text[match.end() : match.end() + 20].lstrip(" \t")
    # Text that knows capitals starts sentences with one.
    return not (
        following[:1].islower() and not match["close"] and text[:2000] != text[:2000].lower()
    )
