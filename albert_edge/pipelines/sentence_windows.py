"""An article as a model takes it: its sentences one after the other, in windows if it is long."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from albert_edge.tokenizer import Tokenizer
from albert_edge.tokenizer.base import Span, check_text

__all__ = [
    "Joined",
    "SentenceTokens",
    "Window",
    "article_spans",
    "cut_sentences",
    "join_sentences",
    "split_ids",
    "split_sentences",
    "windows",
]

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


class SentenceTokens(NamedTuple):
    """One sentence of an article.

    Attributes:
        ids: Its tokens, at least one, without special ones.
        start, end: Its place, in code points of the article.
    """

    ids: list[int]
    start: int
    end: int


class Joined(NamedTuple):
    """Sentences as one sequence: `[CLS] a [SEP] b [SEP] c [SEP]`.

    Attributes:
        input_ids: T token ids, in [0, V).
        token_type_ids: T numbers, by turns 0 and 1 from sentence to sentence; `[CLS]` has 0.
        starts: Where each sentence begins, in [1, T); it goes on to the next one, or to the end.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    starts: list[int]


class Window(NamedTuple):
    """Which sentences are read at once, and which of them for the first time.

    Attributes:
        begin: The first sentence.
        new: The first one that no window before has.
        stop: The one behind the last.
    """

    begin: int
    new: int
    stop: int


def article_spans(article: str | Sequence[str]) -> tuple[str, list[Span]]:
    """Return an article as one text, and where in it its sentences are.

    Args:
        article: A text, or its sentences, which are then joined by spaces.

    Raises:
        InputError: A text is no string, or not Unicode.

    Example:
        >>> article_spans(["It fell.", "Why?"])
        ('It fell. Why?', [(0, 8), (9, 13)])
    """
    for part in [article] if isinstance(article, str) else article:
        check_text(part)
    if isinstance(article, str):
        return article, split_sentences(article)
    ends = list(accumulate(len(sentence) + 1 for sentence in article))
    spans = [(end - len(part) - 1, end - 1) for part, end in zip(article, ends, strict=True)]
    return " ".join(article), spans


def cut_sentences(text: str, spans: Sequence[Span], tokenizer: Tokenizer) -> list[SentenceTokens]:
    """Take an article apart into the sentences at `spans`; what has no tokens is none.

    Raises:
        InputError: The text cannot be encoded.
    """
    found = [
        SentenceTokens(tokenizer.tokenize(text[start:end]).ids, start, end) for start, end in spans
    ]
    return [sentence for sentence in found if sentence.ids]


def split_ids(ids: Sequence[int], cls_id: int, sep_id: int) -> list[SentenceTokens]:
    """Take token ids apart at every `[SEP]`; places are those in `ids`.

    Example:
        >>> split_ids([2, 7, 8, 3, 9, 3], 2, 3)
        [Sentence(ids=[7, 8], start=1, end=3), Sentence(ids=[9], start=4, end=5)]
    """
    start = int(len(ids) > 0 and ids[0] == cls_id)
    found = []
    for end in [*(at for at, token in enumerate(ids) if token == sep_id), len(ids)]:
        found.append(SentenceTokens(list(ids[start:end]), start, end))
        start = end + 1
    return [sentence for sentence in found if sentence.ids]


def join_sentences(
    sentences: Sequence[Sequence[int]], cls_id: int, sep_id: int, *, types: int = 2
) -> Joined:
    """Join the token ids of sentences, each closed by its own `[SEP]`.

    Sentences take turns in their type, as Liu 2019, arXiv:1903.10318, sec. 2.1, has it.

    Args:
        sentences: The token ids of each.
        cls_id, sep_id: The ids of `[CLS]` and `[SEP]`.
        types: How many token types the model knows.

    Example:
        >>> join_sentences([[7, 8], [9]], 2, 3)
        Joined(input_ids=[2, 7, 8, 3, 9, 3], token_type_ids=[0, 0, 0, 0, 1, 1], starts=[1, 4])
    """
    joined = Joined([cls_id], [0], [])
    for turn, ids in enumerate(sentences):
        joined.starts.append(len(joined.input_ids))
        joined.input_ids.extend([*ids, sep_id])
        joined.token_type_ids.extend([turn % min(types, 2)] * (len(ids) + 1))
    return joined


def windows(sentences: Sequence[Sequence[int]], max_tokens: int) -> Iterator[Window]:
    """Divide sentences into windows that hold whole ones.

    A window that does not begin at the article's beginning begins with sentences that were read
    before, as many as half of it holds: what is new then stands behind something, as it does in the
    article, and does not look like the beginning of one.

    Args:
        sentences: The token ids of each, at most `max_tokens` - 2.
        max_tokens: The longest input, special tokens included.

    Example:
        >>> [(w.begin, w.new, w.stop) for w in windows([[7, 8]] * 5, 10)]
        [(0, 0, 3), (2, 3, 5)]
    """
    lengths, room = [len(ids) + 1 for ids in sentences], max_tokens - 1
    stop = 0
    while stop < len(lengths):
        begin = new = stop
        free = min(room - lengths[new], room // 2)
        while begin and lengths[begin - 1] <= free:
            begin -= 1
            free -= lengths[begin]
        free = room - sum(lengths[begin : new + 1])
        stop = new + 1
        while stop < len(lengths) and lengths[stop] <= free:
            free -= lengths[stop]
            stop += 1
        yield Window(begin, new, stop)


# Cut text into sentences.


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
