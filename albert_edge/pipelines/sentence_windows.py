"""Split articles into sentences, and join sentences into inputs of limited length.

An article is tokenized sentence by sentence, and read in windows of whole sentences if it is longer
than the model takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from albert_edge.tokenizer.base import Span, Tokenizer, check_text

__all__ = [
    "join_sentences",
    "sentence_spans",
    "split_into_windows",
    "split_sentences",
    "tokenize_sentences",
]

# A run of closing marks, what closes after it, and the space behind; or the end of a line.  The
# look-behind changes no match: it keeps the regex from trying a long run that ends no sentence at
# each of its marks.  (Patterns are compiled when they are needed, by functions of `re`.)
_SENTENCE_END = r"(?<![.!?…])(?P<mark>[.!?…]+(?:\s[.!?…]+)*)(?P<close>[\"'”’»)\]]*)(?=\s)|(?=\n)"
_DETACHED_QUOTE = re.compile(r"[^\S\n]+\"(?=\s|$)")
_CJK_END = r"[。！？]+[”’」』）]*"
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘]*$")
# A full stop behind these, or behind an initial, does not end a sentence.
_ABBREVIATIONS = (
    r"(?i:mrs?|ms|dr|prof|sr|jr|st|rev|gen|col|lt|sgt|capt|hon|messrs|vs|etc|al|eqs?|figs?|sec|nos?|"
    r"vols?|pp|ca|cf|e\.?g|i\.?e|viz|resp|approx|dept|inc|ltd|co|corp|jan|feb|mar|apr|jun|jul|aug|"
    r"sept?|oct|nov|dec|mt|ft|u\.s|u\.k|[ap]\.m|[^\W\d_](?<!I))"
)


class SentenceTokens(NamedTuple):
    """One sentence of an article.

    Attributes:
        ids: Its token ids, at least one, without special ones.
        start, end: Its place, in code points of the article.
        truncated: Whether it has more tokens than these.
    """

    ids: list[int]
    start: int
    end: int
    truncated: bool


class JoinedSentences(NamedTuple):
    """Sentences as one input: `[CLS] a [SEP] b [SEP] c [SEP]`.

    Attributes:
        input_ids: T token ids, in [0, V).
        token_type_ids: T types, alternating 0 and 1 from sentence to sentence; 0 for `[CLS]`.
        starts: Where each sentence begins, in [1, T); it ends where the next one begins, or at T.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    starts: list[int]


class Window(NamedTuple):
    """The sentences of one input, and which of them no earlier window contains.

    Attributes:
        start: The first sentence.
        first_new: The first one that no earlier window contains.
        stop: The one behind the last.
    """

    start: int
    first_new: int
    stop: int


def split_sentences(text: str) -> list[Span]:
    """Return the place of every sentence: (start, end) in code points, without space around it.

    A sentence ends at a full stop, a question or exclamation mark with space behind it, or at the
    end of a line.  A full stop behind an initial or a known abbreviation ends none, nor does a
    single one before a lower-case letter.

    Example:
        >>> text = "Dr. Who came in. He left at 4.30 p.m. sharp!"
        >>> [text[start:end] for start, end in split_sentences(text)]
        ['Dr. Who came in.', 'He left at 4.30 p.m. sharp!']
    """
    ends = {
        match.end() for match in re.finditer(_SENTENCE_END, text) if _is_sentence_end(text, match)
    }
    ends |= {match.end() for match in re.finditer(_CJK_END, text)}
    spans: list[Span] = []
    start = 0
    for end in [*sorted(ends), len(text)]:
        end = _include_closing_quote(text, start, end)
        part = text[start:end]
        if words := part.strip():
            first = start + len(part) - len(part.lstrip())
            if spans and not any(map(str.isalnum, words)):
                spans[-1] = (spans[-1][0], first + len(words))  # ` . . . "` belongs to the last one
            else:
                spans.append((first, first + len(words)))
        start = end
    return spans


def sentence_spans(article: str | Sequence[str]) -> tuple[str, list[Span]]:
    """Return an article as one text, and the places of its sentences in it.

    Args:
        article: A text, or its sentences, which are then joined by spaces.

    Raises:
        InputError: A text is no string, or not Unicode.

    Example:
        >>> sentence_spans(["It fell.", "Why?"])
        ('It fell. Why?', [(0, 8), (9, 13)])
    """
    for part in [article] if isinstance(article, str) else article:
        check_text(part)
    if isinstance(article, str):
        return article, split_sentences(article)
    ends = list(accumulate(len(sentence) + 1 for sentence in article))
    spans = [(end - len(part) - 1, end - 1) for part, end in zip(article, ends, strict=True)]
    return " ".join(article), spans


def tokenize_sentences(
    text: str, spans: Sequence[Span], tokenizer: Tokenizer, *, most: int
) -> list[SentenceTokens]:
    """Tokenize the sentences at `spans`, each on its own; those without tokens are left out.

    Args:
        text: The article.
        spans: The places of its sentences.
        tokenizer: The model's tokenizer.
        most: The number of tokens of a sentence that the model takes.  A longer one is truncated,
            at the tokenizer's `truncation_side`.

    Raises:
        InputError: The text cannot be encoded.
    """
    sentences = []
    for start, end in spans:
        tokens = tokenizer.tokenize_part(text[start:end], most)
        kept = tokenizer.truncate(tokens, most).ids
        sentences.append(SentenceTokens(kept, start, end, truncated=len(tokens.ids) > most))
    return [sentence for sentence in sentences if sentence.ids]


def split_ids(ids: Sequence[int], cls_id: int, sep_id: int, *, most: int) -> list[SentenceTokens]:
    """Split token ids into sentences at every `[SEP]`; `start` and `end` are positions in `ids`.

    Args:
        ids: T token ids.
        cls_id, sep_id: The ids of `[CLS]` and `[SEP]`.
        most: The number of tokens after which a sentence is cut.

    Example:
        >>> [sentence.ids for sentence in split_ids([2, 7, 8, 3, 9, 3], 2, 3, most=8)]
        [[7, 8], [9]]
    """
    start = int(len(ids) > 0 and ids[0] == cls_id)
    sentences = []
    for end in [*(at for at, token in enumerate(ids) if token == sep_id), len(ids)]:
        kept = list(ids[start:end])
        sentences.append(SentenceTokens(kept[:most], start, end, truncated=len(kept) > most))
        start = end + 1
    return [sentence for sentence in sentences if sentence.ids]


def join_sentences(
    sentences: Sequence[Sequence[int]], cls_id: int, sep_id: int, *, types: int = 2
) -> JoinedSentences:
    """Join the token ids of sentences, each closed by its own `[SEP]`.

    Token types alternate from sentence to sentence, as in Liu 2019, arXiv:1903.10318, sec. 2.1.

    Args:
        sentences: The token ids of each sentence.
        cls_id, sep_id: The ids of `[CLS]` and `[SEP]`.
        types: The model's `type_vocab_size`.

    Example:
        >>> join_sentences([[7, 8], [9]], 2, 3).input_ids
        [2, 7, 8, 3, 9, 3]
        >>> join_sentences([[7, 8], [9]], 2, 3)[1:]
        ([0, 0, 0, 0, 1, 1], [1, 4])
    """
    joined = JoinedSentences([cls_id], [0], [])
    for index, ids in enumerate(sentences):
        joined.starts.append(len(joined.input_ids))
        joined.input_ids.extend([*ids, sep_id])
        joined.token_type_ids.extend([index % min(types, 2)] * (len(ids) + 1))
    return joined


def split_into_windows(sentences: Sequence[Sequence[int]], max_tokens: int) -> Iterator[Window]:
    """Divide sentences into windows of whole sentences.

    A window that does not begin at the article's beginning begins with sentences of the window
    before, as many as fit in half of it: new sentences then have context before them, as in the
    article, and do not look like the beginning of one.

    Args:
        sentences: The token ids of each sentence, at most `max_tokens` - 2.
        max_tokens: The longest input, special tokens included.

    Example:
        >>> [tuple(window) for window in split_into_windows([[7, 8]] * 5, 10)]
        [(0, 0, 3), (2, 3, 5)]
    """
    lengths, room = [len(ids) + 1 for ids in sentences], max_tokens - 1
    stop = 0
    while stop < len(lengths):
        start = first_new = stop
        free = min(room - lengths[first_new], room // 2)
        while start and lengths[start - 1] <= free:
            start -= 1
            free -= lengths[start]
        free = room - sum(lengths[start : first_new + 1])
        stop = first_new + 1
        while stop < len(lengths) and lengths[stop] <= free:
            free -= lengths[stop]
            stop += 1
        yield Window(start, first_new, stop)


def _include_closing_quote(text: str, start: int, end: int) -> int:
    """Move the sentence's end behind a detached quotation mark that closes one inside it."""
    if text.count('"', start, end) % 2 and (mark := _DETACHED_QUOTE.match(text, end)):
        return mark.end()
    return end


def _is_sentence_end(text: str, match: re.Match[str]) -> bool:
    mark = match["mark"]
    if mark is None or mark != ".":
        return True
    word = _LAST_WORD.search(text, max(match.start() - 20, 0), match.start())
    if word and re.fullmatch(_ABBREVIATIONS, word.group()):
        return False
    following = text[match.end() : match.end() + 20].lstrip(" \t")
    # In a text with capitals, sentences begin with one.
    return not (
        following[:1].islower() and not match["close"] and text[:2000] != text[:2000].lower()
    )
