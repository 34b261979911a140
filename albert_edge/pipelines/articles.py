"""An article as a model takes it: its sentences one after the other, in windows if it is long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from albert_edge.tokenizer import Tokenizer
from albert_edge.tokenizer.base import Span, check_text

__all__ = [
    "Joined",
    "Sentence",
    "Window",
    "cut_sentences",
    "join_sentences",
    "join_texts",
    "split_ids",
    "windows",
]


class Sentence(NamedTuple):
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
        closing: Where each sentence's `[SEP]` is, in [0, T).
    """

    input_ids: list[int]
    token_type_ids: list[int]
    closing: list[int]


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


def join_texts(sentences: Sequence[str]) -> tuple[str, list[Span]]:
    """Join sentences by spaces; return the article and their places in it.

    Raises:
        InputError: One is no string, or not Unicode.

    Example:
        >>> join_texts(["It fell.", "Why?"])
        ('It fell. Why?', [(0, 8), (9, 13)])
    """
    spans: list[Span] = []
    for sentence in sentences:
        check_text(sentence)
        start = spans[-1][1] + 1 if spans else 0
        spans.append((start, start + len(sentence)))
    return " ".join(sentences), spans


def cut_sentences(text: str, spans: Sequence[Span], tokenizer: Tokenizer) -> list[Sentence]:
    """Take an article apart into the sentences at `spans`; what has no tokens is none.

    Raises:
        InputError: The text cannot be encoded.
    """
    found = [Sentence(tokenizer.tokenize(text[start:end]).ids, start, end) for start, end in spans]
    return [sentence for sentence in found if sentence.ids]


def split_ids(ids: Sequence[int], cls_id: int, sep_id: int) -> list[Sentence]:
    """Take token ids apart at every `[SEP]`; places are those in `ids`.

    Example:
        >>> split_ids([2, 7, 8, 3, 9, 3], 2, 3)
        [Sentence(ids=[7, 8], start=1, end=3), Sentence(ids=[9], start=4, end=5)]
    """
    start = int(len(ids) > 0 and ids[0] == cls_id)
    found = []
    for end in [*(at for at, token in enumerate(ids) if token == sep_id), len(ids)]:
        found.append(Sentence(list(ids[start:end]), start, end))
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
        Joined(input_ids=[2, 7, 8, 3, 9, 3], token_type_ids=[0, 0, 0, 0, 1, 1], closing=[3, 5])
    """
    joined = Joined([cls_id], [0], [])
    for turn, ids in enumerate(sentences):
        joined.input_ids.extend([*ids, sep_id])
        joined.token_type_ids.extend([turn % min(types, 2)] * (len(ids) + 1))
        joined.closing.append(len(joined.input_ids) - 1)
    return joined


def windows(lengths: Sequence[int], room: int) -> Iterator[Window]:
    """Divide sentences into windows that hold whole ones.

    A window that does not begin at the article's beginning begins with sentences that were read
    before, as many as half of it holds: what is new then stands behind something, as it does in the
    article, and does not look like the beginning of one.

    Args:
        lengths: The tokens of each sentence, with its `[SEP]`; none exceeds `room`.
        room: The tokens of a window, without `[CLS]`.

    Example:
        >>> [(w.begin, w.new, w.stop) for w in windows([3, 3, 3, 3, 3], 9)]
        [(0, 0, 3), (2, 3, 5)]
    """
    stop = 0
    while stop < len(lengths):
        begin = new = stop
        used = lengths[new]
        while (
            begin
            and sum(lengths[begin - 1 : new]) <= room // 2
            and used + lengths[begin - 1] <= room
        ):
            begin -= 1
            used += lengths[begin]
        stop = new + 1
        while stop < len(lengths) and used + lengths[stop] <= room:
            used += lengths[stop]
            stop += 1
        yield Window(begin, new, stop)
