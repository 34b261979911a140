"""BERT's WordPiece, as Chinese and some other ALBERT checkpoints use it: `vocab.txt`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, final

from albert_edge.errors import InputError, TokenizerError
from albert_edge.tokenizer.base import Span, Tokenizer, Tokens, check_text
from albert_edge.tokenizer.config import WordPieceConfig

__all__ = ["Word", "WordPieceTokenizer", "clean_text", "split_units", "split_words"]

_INNER = "##"  # the mark of a piece that does not begin a word
_LONGEST_WORD = 100  # characters; the original gives up on longer ones, and so must we
# A token's id, and its span in the unit that it was cut from.
_Entry = tuple[int, int, int]
# Python's white space but for the control characters in it, which are dropped.
_SPACE = "\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CHINESE = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf"
    "\U0002f800-\U0002fa1f"
)
_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"


@final
class WordPieceTokenizer(Tokenizer):
    """The tokenizer of the original BERT; gives the ids of Hugging Face's slow `BertTokenizer`.

    They differ in one thing: here the name of a special token in the text is text.
    """

    def __init__(
        self, vocab: bytes, settings: WordPieceConfig, *, where: str = "vocab.txt"
    ) -> None:
        """Load a vocabulary.

        Args:
            vocab: The content of a `vocab.txt`: one piece a line, in the order of their ids.
            settings: How to prepare text, and the names of the special tokens.
            where: The file's name, for error messages.

        Raises:
            TokenizerError: It is no text, or lacks a special token.
        """
        self._vocab = vocab
        self._settings = settings
        self._lines = _read_lines(vocab, where=where)
        self.vocab_size = len(self._lines)
        self.do_lower_case = settings.do_lower_case
        # The last of equal lines counts, as in the original; an empty one is no piece.
        ids = {piece: index for index, piece in enumerate(self._lines) if piece}
        self.unk_id = _special(ids, settings.unk_token, where=where)
        self.cls_id = _special(ids, settings.cls_token, where=where)
        self.sep_id = _special(ids, settings.sep_token, where=where)
        self.pad_id = _special(ids, settings.pad_token, where=where)
        self.mask_id = _special(ids, settings.mask_token, where=where)
        special = {self.unk_id, self.cls_id, self.sep_id, self.pad_id, self.mask_id}
        self._first = {piece: n for piece, n in ids.items() if n not in special}
        self._inner = {
            piece[len(_INNER) :]: n for piece, n in self._first.items() if piece.startswith(_INNER)
        }
        self._longest_piece = max(map(len, ids))
        # More than the words of a novel or the characters of Chinese; at most about 10 MB.
        self._entries = lru_cache(maxsize=1 << 15)(self._cut)

    def tokenize(self, text: str) -> Tokens:
        """Cut `text` into tokens; see `Tokenizer.tokenize`."""
        check_text(text)
        kept, places = clean_text(text)
        chinese = self._settings.tokenize_chinese_chars
        ids: list[int] = []
        spans: list[Span] = []
        for match in split_units(kept, tokenize_chinese_chars=chinese):
            unit, at = match.group(), match.start()
            # Long units seldom come twice, and would fill the memory.
            entries = self._entries(unit) if len(unit) <= _LONGEST_WORD else self._cut(unit)
            for token_id, start, end in entries:
                ids.append(token_id)
                spans.append((at + start, at + end))
        if places is not None:
            spans = [(places[start], places[end - 1] + 1) for start, end in spans]
        return Tokens(ids, spans)

    def _cut(self, unit: str) -> tuple[_Entry, ...]:
        lower, strip = self._settings.do_lower_case, self._settings.strips_accents
        words = split_words(unit, do_lower_case=lower, strip_accents=strip)
        return tuple(entry for word in words for entry in self._pieces(word))

    def _pieces(self, word: Word) -> list[_Entry]:
        """Cut a word into the longest pieces from its start on; one unknown makes all unknown."""
        text, starts, ends = word
        unknown = [(self.unk_id, starts[0], ends[-1])]
        if len(text) > _LONGEST_WORD:
            return unknown
        found = []
        begin, pieces = 0, self._first
        while begin < len(text):
            for end in range(min(len(text), begin + self._longest_piece), begin, -1):
                token_id = pieces.get(text[begin:end])
                if token_id is not None:
                    break
            else:
                return unknown
            found.append((token_id, starts[begin], ends[end - 1]))
            begin, pieces = end, self._inner
        return found

    def id_to_piece(self, token_id: int) -> str:
        """Return the piece of text that an id stands for; see `Tokenizer.id_to_piece`."""
        index = int(token_id)
        if not 0 <= index < self.vocab_size:
            raise InputError(f"token id {index} is not in [0, {self.vocab_size}).")
        return self._lines[index]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that ids stand for, words apart; see `Tokenizer.decode`."""
        silent = {self.cls_id, self.sep_id, self.pad_id, self.mask_id}
        pieces = [self.id_to_piece(token_id) for token_id in ids if token_id not in silent]
        return " ".join(pieces).replace(f" {_INNER}", "").strip()

    def files(self) -> dict[str, bytes]:
        """Return the vocabulary and its settings; see `Tokenizer.files`."""
        return {"vocab.txt": self._vocab, "tokenizer_config.json": self._settings.to_json()}


def _read_lines(vocab: bytes, *, where: str) -> list[str]:
    try:
        text = vocab.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{where} is not a vocabulary: byte {error.start} is not UTF-8 text."
        ) from error
    # Not `splitlines`: characters that it takes for the end of a line are pieces of some files.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _special(ids: dict[str, int], name: str, *, where: str) -> int:
    if name not in ids:
        raise TokenizerError(
            f"{where}: the vocabulary has no piece {name!r}, one of BERT's special tokens. "
            "If it has another name here, a tokenizer_config.json beside the file must say so."
        )
    return ids[name]


# Cut text into words as BERT's original tokenizer does, and remember where characters came from.
#
# The original (google-research/bert, `tokenization.BasicTokenizer`; Hugging Face's slow
# `BertTokenizer`) works on whole strings: lower each character, drop control characters, put spaces
# around Chinese ones, compose (NFC), split at white space, decompose (NFD), drop combining marks,
# split at punctuation.  Here the text is cut first, into units that no later step reaches across:
# then a unit that was seen before need not be worked out again.


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


def clean_text(text: str) -> tuple[str, list[int] | None]:
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


def split_units(text: str, *, tokenize_chinese_chars: bool) -> Iterator[re.Match[str]]:
    """Find the units of `text`, from which `clean_text` has dropped what is to be dropped."""
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
