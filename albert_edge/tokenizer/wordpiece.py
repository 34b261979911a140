"""The WordPiece tokenizer of BERT, which Chinese and some other ALBERTs use: `vocab.txt`.

The original (google-research/bert, `tokenization.BasicTokenizer`; Hugging Face's slow
`BertTokenizer`) normalizes whole strings: convert to lower case, remove control characters, put
spaces around Chinese characters, compose (NFC), split at white space, decompose (NFD), remove
combining marks, split at punctuation.  Here the text is first split into units that all these steps
treat separately, so that the result for a unit can be cached.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import NamedTuple, final

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer.base import Span, Tokenizer, Tokens, resolve_added_tokens
from albert_edge.tokenizer.config import CONFIG_FILE, VOCAB_FILE, WordPieceConfig

_INNER = "##"  # the mark of a piece that does not begin a word
_MAX_WORD_CHARS = 100  # longer words are unknown, as in the original
# A token's id, and its span in its unit.
_UnitToken = tuple[int, int, int]
# Python's white space except its control characters, which are removed.
_SPACE = "\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CHINESE = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf"
    "\U0002f800-\U0002fa1f"
)
_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"


@cache  # and compiled when it is needed: large classes take milliseconds
def _units(chinese: str) -> re.Pattern[str]:
    # One Chinese character; an ASCII word; an ASCII punctuation mark; anything else up to white
    # space.  A mark may compose with the next character, unless that is ASCII.
    mark = rf"[{_ASCII_PUNCTUATION}](?![^\0-\x7f])"
    return re.compile(
        (f"[{chinese}]|" if chinese else "")
        + rf"[0-9A-Za-z]+(?=[{_SPACE}]|\Z|{mark})|{mark}|[^{_SPACE}{chinese}]+"
    )


_SPACES = f"[{_SPACE}]+"
_PUNCTUATION = f"[{_ASCII_PUNCTUATION}]"

_Fold = Callable[[str], str]


@final
class WordPieceTokenizer(Tokenizer):
    """The tokenizer of the original BERT, with the ids of Hugging Face's slow `BertTokenizer`.

    The only difference: the name of a special token in the text is treated as text.
    """

    def __init__(self, vocab: bytes, config: WordPieceConfig, *, where: str = VOCAB_FILE) -> None:
        """Load a vocabulary.

        Args:
            vocab: The content of a `vocab.txt`: one piece per line, in the order of the ids.
            config: The normalization, and the names of the special tokens.
            where: The name of the file, for error messages.

        Raises:
            TokenizerError: The vocabulary is not UTF-8, or it lacks a special token.
        """
        self._vocab = vocab
        self._lines = _read_lines(vocab, where=where)
        self.do_lower_case = config.do_lower_case
        self.truncation_side = config.truncation_side
        self.model_max_length = config.model_max_length
        # The last of equal lines counts, as in the original; an empty line is not a piece.
        ids = {piece: index for index, piece in enumerate(self._lines) if piece}
        ends = (config.bos_token, config.eos_token)
        self.piece_count = len(self._lines)
        distinct = len(set(self._lines))
        added = resolve_added_tokens(
            config.added_tokens, ids.get, distinct=distinct, unlisted=ends, where=where
        )
        self.added = {token.id: token for token in added if token.id is not None}
        self.vocab_size = max(self.piece_count, 1 + max(self.added, default=0))
        self._config = replace(config, added_tokens=added)
        named = {**ids, **{token.content: token_id for token_id, token in self.added.items()}}
        self.unk_id = _special_id(named, config.unk_token, where=where)
        self.cls_id = _special_id(named, config.cls_token, where=where)
        self.sep_id = _special_id(named, config.sep_token, where=where)
        self.pad_id = _special_id(named, config.pad_token, where=where)
        self.mask_id = _special_id(named, config.mask_token, where=where)
        special = {self.unk_id, self.cls_id, self.sep_id, self.pad_id, self.mask_id}
        unmatched = {*special, *(named.get(name) for name in ends if name)}
        self.matched = {n: token for n, token in self.added.items() if n not in unmatched}
        first = {piece: named[piece] for piece in ids if named[piece] not in special}
        longest = max(map(len, ids))
        self._split_unit = _UnitSplitter(config, first, longest=longest, unk_id=self.unk_id)
        # More than the words of a novel or the characters of Chinese; takes at most about 10 MB.
        # The function does not refer to the tokenizer, which would then be freed by the garbage
        # collector only.
        self._tokens_of = lru_cache(maxsize=1 << 15)(self._split_unit)

    def _tokenize(self, text: str) -> Tokens:
        kept, indices = clean_text(text)
        chinese = self._config.tokenize_chinese_chars
        ids: list[int] = []
        spans: list[Span] = []
        for match in split_units(kept, tokenize_chinese_chars=chinese):
            unit, at = match.group(), match.start()
            # Long units rarely recur, and would fill the cache.
            tokenize = self._tokens_of if len(unit) <= _MAX_WORD_CHARS else self._split_unit
            for token_id, start, end in tokenize(unit):
                ids.append(token_id)
                spans.append((at + start, at + end))
        if indices is not None:
            spans = [(indices[start], indices[end - 1] + 1) for start, end in spans]
        return Tokens(ids, spans)

    def _piece(self, token_id: int) -> str:
        return self._lines[token_id] if token_id < self.piece_count else ""

    def _decode(self, ids: Sequence[int]) -> str:
        hidden = {self.cls_id, self.sep_id, self.pad_id, self.mask_id}
        pieces = [self._piece(token_id) for token_id in ids if token_id not in hidden]
        return " ".join(pieces).replace(f" {_INNER}", "").strip()

    def files(self) -> dict[str, bytes]:
        """Return the vocabulary and its configuration; see `Tokenizer.files`."""
        return {VOCAB_FILE: self._vocab, CONFIG_FILE: self._config.to_json()}


@final
class _UnitSplitter:
    """Splits a unit of text into pieces."""

    def __init__(
        self, config: WordPieceConfig, pieces: Mapping[str, int], *, longest: int, unk_id: int
    ) -> None:
        self._config, self._longest, self._unk_id = config, longest, unk_id
        self._first = pieces
        self._inner = {
            piece[len(_INNER) :]: n for piece, n in pieces.items() if piece.startswith(_INNER)
        }

    def __call__(self, unit: str) -> tuple[_UnitToken, ...]:
        lower, strip = self._config.do_lower_case, self._config.strips_accents
        words = split_words(unit, do_lower_case=lower, strip_accents=strip)
        return tuple(token for word in words for token in self._split_word(word))

    def _split_word(self, word: Word) -> list[_UnitToken]:
        """Split a word greedily into the longest pieces; without a match the word is unknown."""
        text, starts, ends = word
        unknown = [(self._unk_id, starts[0], ends[-1])]
        if len(text) > _MAX_WORD_CHARS:
            return unknown
        found = []
        begin, pieces = 0, self._first
        while begin < len(text):
            for end in range(min(len(text), begin + self._longest), begin, -1):
                token_id = pieces.get(text[begin:end])
                if token_id is not None:
                    break
            else:
                return unknown
            found.append((token_id, starts[begin], ends[end - 1]))
            begin, pieces = end, self._inner
        return found


class Word(NamedTuple):
    """A normalized word or punctuation mark, with the span of every character in its unit.

    Attributes:
        text: The normalized word, C characters.
        starts: C numbers: the start of each character in the unit, in code points.
        ends: C numbers: the ends.  A removed mark belongs to the character before it.
    """

    text: str
    starts: list[int]
    ends: list[int]


def clean_text(text: str) -> tuple[str, list[int] | None]:
    """Remove control characters, unassigned ones and U+FFFD.

    Returns:
        The remaining text, and the index in `text` of each of its characters, or None if nothing
        was removed.
    """
    if re.sub(_SPACES, " ", text).isprintable() and "\ufffd" not in text:
        return text, None
    # Python's non-printable characters are Unicode's categories Z (separators) and C (others).
    indices = [
        at
        for at, char in enumerate(text)
        if (char.isprintable() or re.match(_SPACES, char)) and char != "\ufffd"
    ]
    return "".join(map(text.__getitem__, indices)), indices


def split_units(text: str, *, tokenize_chinese_chars: bool) -> Iterator[re.Match[str]]:
    """Yield a match for each unit of `text`, a result of `clean_text`."""
    return _units(_CHINESE if tokenize_chinese_chars else "").finditer(text)


def split_words(unit: str, *, do_lower_case: bool, strip_accents: bool) -> list[Word]:
    """Normalize the characters of a unit, and split it at punctuation.

    Example:
        >>> split_words("Caf\u00e9!", do_lower_case=True, strip_accents=True)
        [Word(text='cafe', starts=[0, 1, 2, 3], ends=[1, 2, 3, 4]), Word(text='!', starts=[4], ...
    """
    text, starts, ends = _fold_unit(unit, lambda part: _fold(part, do_lower_case, strip_accents))
    words = []
    begin = 0
    for at, char in enumerate(text):
        if _is_punctuation(char):
            words += [(begin, at), (at, at + 1)]
            begin = at + 1
    words.append((begin, len(text)))
    return [Word(text[a:b], starts[a:b], ends[a:b]) for a, b in words if a < b]


def _read_lines(vocab: bytes, *, where: str) -> list[str]:
    try:
        text = vocab.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{where} is not a vocabulary: byte {error.start} is not UTF-8 text."
        ) from error
    # Not `splitlines`: some vocabularies have pieces that it treats as the end of a line.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _special_id(ids: dict[str, int], name: str, *, where: str) -> int:
    if name not in ids:
        raise TokenizerError(
            f"{where}: the vocabulary has no piece {name!r}, one of BERT's special tokens. "
            "If it has another name, give it in a tokenizer_config.json next to the file."
        )
    return ids[name]


def _fold_unit(unit: str, fold: _Fold) -> Word:
    parts = list(map(fold, unit))
    if "".join(parts) == (folded := fold(unit)):
        sources = list(unit)
    else:  # characters compose with their neighbours, or are reordered
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
    """Split `unit` into the shortest parts whose results do not depend on their neighbours."""
    cluster = ""
    for char in unit:
        starter = not unicodedata.combining(unicodedata.normalize("NFD", char)[0])
        if cluster and starter and fold(cluster + char) == fold(cluster) + fold(char):
            yield from _split_if_separable(cluster, fold)
            cluster = ""
        cluster += char
    yield from _split_if_separable(cluster, fold)


def _split_if_separable(cluster: str, fold: _Fold) -> Iterator[str]:
    separable = "".join(map(fold, cluster)) == fold(cluster)
    yield from cluster if separable else [cluster]


def _fold(text: str, do_lower_case: bool, strip_accents: bool) -> str:
    return (_fold_char if len(text) == 1 else _fold_text)(text, do_lower_case, strip_accents)


def _fold_text(text: str, do_lower_case: bool, strip_accents: bool) -> str:
    if do_lower_case:  # each character by itself, so that a capital sigma has one lower case
        text = "".join(map(str.lower, text))
    if not strip_accents:
        return unicodedata.normalize("NFC", text)
    return "".join(
        char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn"
    )


_fold_char = lru_cache(maxsize=1 << 14)(_fold_text)


@lru_cache(maxsize=1 << 14)
def _is_punctuation(char: str) -> bool:
    return bool(re.match(_PUNCTUATION, char)) or unicodedata.category(char)[0] == "P"
