"""The interface of tokenizers, and the steps that all of them share.

`Tokenizer.encode` joins the tokens of one or two texts into the model's input, and can recognize
the names of special tokens in text.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, final

from albert_edge.errors import InputError, TokenizerError
from albert_edge.tokenizer.config import AddedToken

__all__ = ["Span", "Tokenizer", "check_text"]

Span = tuple[int, int]
# How a text is cut before it is tokenized: so many tokens, or more, are between the cut and those
# that are kept.  A word may have up to 100 characters, and so tokens.
_CUT_MARGIN, _CHARS_PER_TOKEN = 256, 8
Truncation = Literal["longest_first", "only_second"]


class Tokens(NamedTuple):
    """The tokens of one text, without special ones.

    Attributes:
        ids: T token ids, in [0, V).
        offsets: T spans (start, end) in code points of the original text.  Neither starts nor ends
            ever decrease.  The space before a word is in no span, so a token that is only the mark
            of a word's start has an empty span.  If one character becomes several tokens, they all
            have its span.
    """

    ids: list[int]
    offsets: list[Span]

    def slice(self, start: int, stop: int) -> Tokens:
        """Return the tokens from `start` up to, but without, `stop`."""
        return Tokens(self.ids[start:stop], self.offsets[start:stop])


@dataclass(frozen=True, slots=True)
class Encoding:
    """The input of a model: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.

    Attributes:
        input_ids: T token ids, in [0, V).
        token_type_ids: T numbers, 0 up to and including the first `[SEP]`, 1 after it.
        offsets: T spans as in `Tokens`, in `a` for type 0 and in `b` for type 1; None for the
            special tokens around them.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    offsets: list[Span | None]


class Tokenizer(ABC):
    """Converts text to token ids; a subclass tokenizes a single text.

    Attributes:
        vocab_size: V, the number of token ids.
        piece_count: The number of pieces of the vocabulary: the first of these ids.
        cls_id, sep_id, pad_id, unk_id, mask_id: The ids of the special tokens.
        do_lower_case: Whether text is converted to lower case.
        truncation_side: The end at which a text that is too long is cut, "left" or "right".
        model_max_length: The number of tokens, special ones included, to which pipelines truncate
            a text; None for as many as the model has positions.
        added: The tokens beside the pieces of the vocabulary, by id.
        matched: Those of them that are found in every text: not the five special tokens, nor those
            that mark a beginning and an end.
    """

    vocab_size: int
    piece_count: int
    cls_id: int
    sep_id: int
    pad_id: int
    unk_id: int
    mask_id: int
    do_lower_case: bool
    truncation_side: str
    model_max_length: int | None
    added: Mapping[int, AddedToken]
    matched: Mapping[int, AddedToken]

    @abstractmethod
    def _tokenize(self, text: str) -> Tokens:
        """Tokenize text in which no added token is looked for."""

    @abstractmethod
    def _piece(self, token_id: int) -> str:
        """Return the piece with an id, in [0, V); empty if there is none."""

    @abstractmethod
    def _decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids of pieces, without special tokens."""

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """Return the files by name from which `tokenizer_from_files` makes this tokenizer."""

    @final
    def tokenize(self, text: str) -> Tokens:
        """Tokenize `text`.

        Added tokens are found in it.  The name of a special token is treated as text: no special
        token is in the result.

        Raises:
            InputError: `text` is not a string, or has half of a surrogate pair.
            TokenizerError: The vocabulary is damaged.
        """
        check_text(text)
        return self._tokenize_around(text, self.matched) if self.matched else self._tokenize(text)

    @final
    def id_to_piece(self, token_id: int) -> str:
        """Return the piece, or the added token, with the id `token_id`, in [0, V).

        Raises:
            InputError: The id is out of range.
        """
        index = self._check_id(token_id)
        return self.added[index].content if index in self.added else self._piece(index)

    @final
    def decode(self, ids: Iterable[int]) -> str:
        """Return the normalized text of `ids`, each in [0, V), without special tokens.

        Raises:
            InputError: An id is out of range.
        """
        whole = list(map(self._check_id, ids))
        if self.added.keys().isdisjoint(whole):
            return self._decode(whole)
        parts, begin = [], 0
        for at, token_id in enumerate([*whole, -1]):
            if token_id in self.added or token_id < 0:
                parts.append(self._decode(whole[begin:at]))
                begin = at + 1
                if token_id in self.matched and not self.added[token_id].special:
                    parts.append(self.added[token_id].content)
        return " ".join(filter(None, parts))

    def _check_id(self, token_id: int) -> int:
        index = int(token_id)  # SentencePiece does not accept numpy's integers
        if not 0 <= index < self.vocab_size:
            raise InputError(f"token id {index} is not in [0, {self.vocab_size}).")
        return index

    @final
    def count_unknown(self, ids: Iterable[int], offsets: Iterable[Span | None]) -> tuple[int, int]:
        """Count the unknown tokens, and all tokens, that cover a part of a text.

        Args:
            ids: T token ids.
            offsets: T spans; None for special tokens.
        """
        covering = [n for n, span in zip(ids, offsets, strict=True) if span and span[0] < span[1]]
        return covering.count(self.unk_id), len(covering)

    @final
    def parts(self, text: str) -> Iterator[str | int]:
        """Yield the ids of the added tokens in `text`, and the parts between them."""
        for part, _, token_id in self._split(text, self.matched):
            yield part if token_id is None else token_id

    @final
    def plain_parts(self, text: str) -> Iterator[str]:
        """Yield the parts of `text` between added tokens."""
        return (part for part in self.parts(text) if isinstance(part, str))

    @final
    def encode(
        self,
        text: str,
        pair: str | None = None,
        *,
        max_length: int | None = None,
        truncate: Truncation = "longest_first",
        allow_special: bool = False,
    ) -> Encoding:
        """Encode one text, or two.

        Args:
            text: The first text, `a`.
            pair: The second, `b`.
            max_length: The maximum number of tokens, special ones included; None for no limit.
            truncate: The text to truncate: `longest_first` removes one token at a time from the end
                of the longer text (of the second if they are equal), as Hugging Face does;
                `only_second` does not truncate `text`.  With `truncation_side` "left" the tokens
                are removed from the beginning.
            allow_special: Whether the name of a special token, as in "Paris is the [MASK] of
                France.", is converted to that token, as by Hugging Face's slow tokenizers.  Do not
                use it on untrusted text.

        Raises:
            InputError: A text cannot be encoded, or `max_length` leaves no room.
        """
        if truncate not in ("longest_first", "only_second"):
            raise InputError(f"truncate is {truncate!r}; choose longest_first or only_second.")
        most = max_length if truncate == "longest_first" else None
        first = self.tokenize_part(text, most, allow_special=allow_special)
        second = None
        if pair is not None:
            second = self.tokenize_part(pair, most, allow_special=allow_special)
        if max_length is not None:
            if truncate == "longest_first":
                first, second = self._truncate_longest_first(first, second, max_length)
            elif second is None:
                raise InputError("truncate='only_second' needs a second text.")
            elif len(first.ids) + len(second.ids) + 3 > max_length:
                second = self.truncate(second, _max_second_tokens(first, max_length))
        return self._build_encoding(first, second)

    @final
    def tokenize_part(self, text: str, most: int | None, *, allow_special: bool = False) -> Tokens:
        """Tokenize as much of a text as it takes to truncate it to `most` tokens.

        A longer text is cut at white space, if there is any, and far behind the tokens that are
        kept, or before them with `truncation_side` "left".

        Args:
            text: The text, of any length.
            most: The number of tokens that are kept at most; None to tokenize all.
            allow_special: As in `encode`.

        Returns:
            All tokens, or more than `most` of them: the first, or with "left" the last.

        Raises:
            InputError: The text cannot be encoded.
        """
        check_text(text)
        tokenize = self._tokenize_with_special if allow_special else self.tokenize
        least = 0 if most is None else most + _CUT_MARGIN
        size = _CHARS_PER_TOKEN * least
        while 0 < size < len(text):
            if self.truncation_side == "left":
                begin, end = _space(text, len(text) - size, len(text) - size // 2), len(text)
            else:
                begin, end = 0, _space(text, size // 2, size)
            ids, offsets = tokenize(text[begin:end])
            if len(ids) >= least:
                return Tokens(ids, [(start + begin, stop + begin) for start, stop in offsets])
            size *= 4
        return tokenize(text)

    @final
    def windows(
        self,
        question: str,
        context: str,
        *,
        max_length: int,
        stride: int,
        max_question: int | None = None,
    ) -> list[Encoding]:
        """Encode `question` with each of the overlapping windows of `context`.

        Every token of the context is in at least one window.  The last window can be shorter.  An
        empty context has one window, without context.

        Args:
            question: The first text, which is in every window.
            context: The second text.
            max_length: The maximum number of tokens of a window, special ones included.
            stride: The number of tokens of the context that neighbouring windows share.
            max_question: The number of tokens to which the question is truncated; None for all.

        Raises:
            InputError: A text cannot be encoded, the question leaves no room for context, or the
                stride is not less than that room.
        """
        first, second = self.tokenize(question), self.tokenize(context)
        if max_question is not None:
            first = self.truncate(first, max_question)
        room = _max_second_tokens(first, max_length)
        if not 0 <= stride < room:
            raise InputError(
                f"stride must be in [0, {room}), the tokens of context that fit in a window of "
                f"{max_length} beside a question of {len(first.ids)}, not {stride}."
            )
        # The last window is the first that includes the end of the context.
        starts = range(0, max(len(second.ids) - stride, 1), room - stride)
        return [self._build_encoding(first, second.slice(start, start + room)) for start in starts]

    def _tokenize_with_special(self, text: str) -> Tokens:
        """Tokenize `text`, and convert the names of special tokens to those tokens."""
        check_text(text)
        special = (self.cls_id, self.sep_id, self.pad_id, self.unk_id, self.mask_id)
        # `[MASK]` includes the space before it, because a word begins with its space.
        named = {
            token_id: AddedToken(
                content=self.id_to_piece(token_id), named=True, lstrip=token_id == self.mask_id
            )
            for token_id in special
        }
        return self._tokenize_around(text, {**named, **self.matched})

    def _tokenize_around(self, text: str, tokens: Mapping[int, AddedToken]) -> Tokens:
        found = Tokens([], [])
        for part, places, token_id in self._split(text, tokens):
            if token_id is not None:
                found.ids.append(token_id)
                found.offsets.append((places[0], places[-1] + 1))
                continue
            ids, spans = self._tokenize(part)
            found.ids.extend(ids)
            behind = (*places, places[-1] + 1)
            found.offsets.extend(
                (behind[start], places[end - 1] + 1 if start < end else behind[start])
                for start, end in spans
            )
        return found

    def _split(
        self, text: str, tokens: Mapping[int, AddedToken]
    ) -> Iterator[tuple[str, Sequence[int], int | None]]:
        """Split `text` at tokens, as `PreTrainedTokenizer.tokenize` of transformers does.

        Yields:
            Each part, the index in `text` of each of its characters, and its id if it is a token.
        """
        names = {token.content: token_id for token_id, token in tokens.items()}
        cased = [token.content for token in tokens.values() if token.keeps_case]
        lower = _lower_around(text, cased) if self.do_lower_case else text
        parts: list[Sequence[int]] = []
        begin = 0
        for start, end, _ in find_special_tokens(lower, names, do_lower_case=False):
            parts += [range(begin, start), range(start, end)]
            begin = end
        parts = [part for part in (*parts, range(begin, len(text))) if part]
        _apply_options(parts, lower, {token.content: token for token in tokens.values()})
        for part in filter(None, parts):
            yield _take(text, part), part, names.get(_take(lower, part))

    def _truncate_longest_first(
        self, first: Tokens, second: Tokens | None, max_length: int
    ) -> tuple[Tokens, Tokens | None]:
        special = 2 if second is None else 3
        if max_length < special:
            raise InputError(f"max_length must be at least {special}, not {max_length}.")
        budget = max_length - special
        if second is None:
            return self.truncate(first, budget), None
        if len(first.ids) + len(second.ids) <= budget:
            return first, second
        # Both texts get half (an odd token goes to the first), unless one of them needs less.
        keep = min(len(first.ids), max(budget - len(second.ids), (budget + 1) // 2))
        return self.truncate(first, keep), self.truncate(second, budget - keep)

    @final
    def truncate(self, tokens: Tokens, count: int) -> Tokens:
        """Return the first tokens, or with `truncation_side` "left" the last, at most `count`."""
        start = len(tokens.ids) - count if self.truncation_side == "left" else 0
        return tokens.slice(max(start, 0), max(start, 0) + count)

    def _build_encoding(self, first: Tokens, second: Tokens | None) -> Encoding:
        ids = [self.cls_id, *first.ids, self.sep_id]
        types = [0] * len(ids)
        offsets: list[Span | None] = [None, *first.offsets, None]
        if second is not None:
            ids += [*second.ids, self.sep_id]
            types += [1] * (len(second.ids) + 1)
            offsets += [*second.offsets, None]
        return Encoding(ids, types, offsets)


def _space(text: str, start: int, stop: int) -> int:
    # The last space or line end in `text[start:stop]`; without one, the place nearer the middle.
    found = max(text.rfind(mark, start, stop) for mark in (" ", "\n"))
    return found if found >= 0 else stop


def check_text(text: str) -> None:
    """Check that `text` is valid Unicode.

    Raises:
        InputError: `text` is not a string, or has half of a surrogate pair.
    """
    if not isinstance(text, str):
        raise InputError(f"a text must be a str, not {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text is not Unicode: character {error.start} is half of a surrogate pair. "
            "Read the text with errors='replace'."
        ) from error


def find_special_tokens(
    text: str, names: Mapping[str, int], *, do_lower_case: bool
) -> list[tuple[int, int, int]]:
    """Find the names of special tokens in text, as Hugging Face's slow tokenizers do.

    Args:
        text: Any text.
        names: The ids of the special tokens by name.
        do_lower_case: Whether the tokenizer converts text to lower case.  Then a name in lower
            case, such as `<pad>`, matches `<PAD>` too; `[MASK]` does not match `[mask]`.

    Returns:
        (start, end, id) of each name in `text`, in code points, from left to right.

    Example:
        >>> find_special_tokens("a [MASK] <PAD>", {"[MASK]": 4, "<pad>": 0}, do_lower_case=True)
        [(2, 8, 4), (9, 14, 0)]
    """
    text = _lower_around(text, sorted(names, key=len, reverse=True)) if do_lower_case else text
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or "(?!)"
    return [(*match.span(), names[match[0]]) for match in re.finditer(pattern, text)]


def _lower_around(text: str, names: Collection[str]) -> str:
    """Convert all of a text but some names to lower case; the length stays."""
    pattern = "|".join(map(re.escape, names)) or "(?!)"
    return re.sub(
        f"({pattern})|.", lambda match: match[1] or _lower(match[0]), text, flags=re.DOTALL
    )


def _apply_options(parts: list[Sequence[int]], text: str, tokens: Mapping[str, AddedToken]) -> None:
    """Move white space, and tokens that are no single word, to the neighbours of tokens.

    Args:
        parts: For each part of a text, the indices of its characters; changed in place.
        text: The text.
        tokens: The tokens by name.
    """
    for at, part in enumerate(parts):
        if (token := tokens.get(_take(text, part))) is None:
            continue
        left = parts[at - 1] if at else ()
        right = parts[at + 1] if at + 1 < len(parts) else ()
        if token.rstrip and right:
            skipped = len(right) - len(_take(text, right).lstrip())
            parts[at + 1] = right[skipped:]
        if token.lstrip and left:
            parts[at - 1] = left[: len(_take(text, left).rstrip())]
        if token.single_word and left and text[left[-1]] != " ":
            parts[at - 1], parts[at] = (*parts[at - 1], *part), ()
        elif token.single_word and right and text[right[0]] != " ":
            parts[at + 1], parts[at] = (*part, *parts[at + 1]), ()


def _take(text: str, places: Sequence[int]) -> str:
    return "".join(map(text.__getitem__, places))


def resolve_added_tokens(
    tokens: Iterable[AddedToken],
    find: Callable[[str], int | None],
    *,
    distinct: int,
    unlisted: Iterable[str | None],
    where: str,
) -> tuple[AddedToken, ...]:
    """Give an id to each added token that has none, as transformers' slow tokenizers do.

    Args:
        tokens: The added tokens.
        find: Returns the id of a piece, or None if there is no such piece.
        distinct: The number of distinct pieces.
        unlisted: The names of special tokens, for which transformers takes a new id if they are
            neither pieces nor added tokens.
        where: The name of the file, for error messages.

    Raises:
        TokenizerError: Two tokens have the same id.
    """
    resolved = list(tokens)
    taken = {token.content for token in resolved if token.id is not None}
    free = {name for name in (*taken, *unlisted) if name and find(name) is None}
    new = distinct + len(free)
    for at, token in enumerate(resolved):
        if token.id is None:
            piece = find(token.content)
            resolved[at] = replace(token, id=new if piece is None else piece)
            new += piece is None
    if len({token.id for token in resolved}) < len(resolved):
        names = ", ".join(token.content for token in resolved[:8])
        raise TokenizerError(f"{where}: of the added tokens {names} two have the same id.")
    return tuple(resolved)


def _max_second_tokens(question: Tokens, max_length: int) -> int:
    room = max_length - len(question.ids) - 3
    if room < 1:
        raise InputError(
            f"the first text has {len(question.ids)} tokens; with three special ones it leaves no "
            f"room for the second in {max_length}. Shorten it or increase max_length."
        )
    return room


def _lower(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char  # keeps the length; only U+0130 would have two
