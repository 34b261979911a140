"""The interface of tokenizers, and the steps that all of them share.

`Tokenizer.encode` joins the tokens of one or two texts into the model's input, and can recognize
the names of special tokens in text.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

from albert_edge.errors import InputError

__all__ = [
    "Encoding",
    "Span",
    "Tokenizer",
    "Tokens",
    "Truncation",
    "check_text",
    "find_special_tokens",
]

Span = tuple[int, int]
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
        cls_id, sep_id, pad_id, unk_id, mask_id: The ids of the special tokens.
        do_lower_case: Whether text is converted to lower case.
    """

    vocab_size: int
    cls_id: int
    sep_id: int
    pad_id: int
    unk_id: int
    mask_id: int
    do_lower_case: bool

    @abstractmethod
    def tokenize(self, text: str) -> Tokens:
        """Tokenize `text`.

        The name of a special token is treated as text: no special token is in the result.

        Raises:
            InputError: `text` is not a string, or has half of a surrogate pair.
        """

    @abstractmethod
    def id_to_piece(self, token_id: int) -> str:
        """Return the piece of the vocabulary with the id `token_id`, in [0, V).

        Raises:
            InputError: The id is out of range.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the normalized text of `ids`, each in [0, V), without special tokens.

        Raises:
            InputError: An id is out of range.
        """

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """Return the files by name from which `tokenizer_from_files` makes this tokenizer."""

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
                `only_second` does not truncate `text`.
            allow_special: Whether the name of a special token, as in "Paris is the [MASK] of
                France.", is converted to that token, as by Hugging Face's slow tokenizers.  Do not
                use it on untrusted text.

        Raises:
            InputError: A text cannot be encoded, or `max_length` leaves no room.
        """
        tokenize = self._tokenize_with_special if allow_special else self.tokenize
        first = tokenize(text)
        second = None if pair is None else tokenize(pair)
        if truncate not in ("longest_first", "only_second"):
            raise InputError(f"truncate is {truncate!r}; choose longest_first or only_second.")
        if max_length is not None:
            if truncate == "longest_first":
                first, second = _truncate_longest_first(first, second, max_length)
            elif second is None:
                raise InputError("truncate='only_second' needs a second text.")
            elif len(first.ids) + len(second.ids) + 3 > max_length:
                second = second.slice(0, _max_second_tokens(first, max_length))
        return self._build_encoding(first, second)

    @final
    def windows(
        self, question: str, context: str, *, max_length: int, stride: int
    ) -> list[Encoding]:
        """Encode `question` with each of the overlapping windows of `context`.

        Every token of the context is in at least one window.  The last window can be shorter.  An
        empty context has one window, without context.

        Args:
            question: The first text, which is complete in every window.
            context: The second text.
            max_length: The maximum number of tokens of a window, special ones included.
            stride: The number of tokens of the context that neighbouring windows share.

        Raises:
            InputError: A text cannot be encoded, the question leaves no room for context, or the
                stride is not less than that room.
        """
        first, second = self.tokenize(question), self.tokenize(context)
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
        names = {self.id_to_piece(token_id): token_id for token_id in special}
        tokens = Tokens([], [])
        begin = 0
        lower = self.do_lower_case
        for start, end, token_id in find_special_tokens(text, names, do_lower_case=lower):
            self._append(tokens, text, begin, start, strip=token_id == self.mask_id)
            tokens.ids.append(token_id)
            tokens.offsets.append((start, end))
            begin = end
        self._append(tokens, text, begin, len(text))
        return tokens

    def _append(
        self, tokens: Tokens, text: str, begin: int, end: int, *, strip: bool = False
    ) -> None:
        # `[MASK]` includes the space before it, because a word begins with its space.
        part = text[begin:end].rstrip() if strip else text[begin:end]
        ids, offsets = self.tokenize(part)
        tokens.ids.extend(ids)
        tokens.offsets.extend((start + begin, stop + begin) for start, stop in offsets)

    def _build_encoding(self, first: Tokens, second: Tokens | None) -> Encoding:
        ids = [self.cls_id, *first.ids, self.sep_id]
        types = [0] * len(ids)
        offsets: list[Span | None] = [None, *first.offsets, None]
        if second is not None:
            ids += [*second.ids, self.sep_id]
            types += [1] * (len(second.ids) + 1)
            offsets += [*second.offsets, None]
        return Encoding(ids, types, offsets)


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
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    if do_lower_case:
        text = re.sub(
            f"({pattern})|.", lambda match: match[1] or _lower(match[0]), text, flags=re.DOTALL
        )
    return [(*match.span(), names[match[0]]) for match in re.finditer(pattern, text)]


def _max_second_tokens(question: Tokens, max_length: int) -> int:
    room = max_length - len(question.ids) - 3
    if room < 1:
        raise InputError(
            f"the first text has {len(question.ids)} tokens; with three special ones it leaves no "
            f"room for the second in {max_length}. Shorten it or increase max_length."
        )
    return room


def _truncate_longest_first(
    first: Tokens, second: Tokens | None, max_length: int
) -> tuple[Tokens, Tokens | None]:
    special = 2 if second is None else 3
    if max_length < special:
        raise InputError(f"max_length must be at least {special}, not {max_length}.")
    budget = max_length - special
    if second is None:
        return first.slice(0, budget), None
    if len(first.ids) + len(second.ids) <= budget:
        return first, second
    # Both texts get half (an odd token goes to the first), unless one of them needs less.
    keep = min(len(first.ids), max(budget - len(second.ids), (budget + 1) // 2))
    return first.slice(0, keep), second.slice(0, budget - keep)


def _lower(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char  # keeps the length; only U+0130 would have two
