"""SentencePiece as ALBERT uses it: `spiece.model`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import sentencepiece

from albert_edge.errors import InputError, TokenizerError
from albert_edge.tokenizer.base import Span, Tokenizer, Tokens, check_text
from albert_edge.tokenizer.config import SentencePieceConfig

__all__ = ["Aligned", "SentencePieceTokenizer", "preprocess"]

_SPACE = "\u2581"  # SentencePiece's mark for the space before a word
# A token's id, the width of the mark at its start (0 or 1), its whole width in normal text.
_Entry = tuple[int, int, int]
# Group 1: doubled quotes; 2: white space to fold; 3: a run that stays as it is, but for its case;
# none: any other character.
_UNIT = r"(``|'')|({})|([!-&(-_a-~]+(?:[ '`][!-&(-_a-~]+)*)|."
_FOLDING_SPACE = re.compile(_UNIT.format(r"\s+"), re.DOTALL)
_KEEPING_SPACE = re.compile(_UNIT.format("(?!)"), re.DOTALL)


@final
class SentencePieceTokenizer(Tokenizer):
    """The tokenizer of the original ALBERT; gives the ids of Hugging Face's slow `AlbertTokenizer`.

    They differ in one thing: here the name of a special token in the text is text.
    """

    def __init__(
        self, model: bytes, settings: SentencePieceConfig, *, where: str = "spiece.model"
    ) -> None:
        """Load a SentencePiece model.

        Args:
            model: The content of a `spiece.model`.
            settings: How to prepare text, and the names of the special tokens.
            where: The file's name, for error messages.

        Raises:
            TokenizerError: It is damaged, or not such as ALBERT uses.
        """
        self._model = model
        self._settings = settings
        self.do_lower_case = settings.do_lower_case
        self._processor = _load(model, where=where)
        self.vocab_size = self._processor.get_piece_size()
        self.unk_id = self._processor.unk_id()
        self.cls_id = self._special(settings.cls_token, where=where)
        self.sep_id = self._special(settings.sep_token, where=where)
        self.pad_id = self._special(settings.pad_token, "[PAD]", where=where)
        self.mask_id = self._special(settings.mask_token, where=where)
        # As large as ALBERT's vocabulary: each piece is looked up once.
        self._entries = lru_cache(maxsize=1 << 15)(self._look_up)

    def _special(self, *names: str, where: str) -> int:
        for name in names:
            token_id: int = self._processor.piece_to_id(name)
            if token_id != self.unk_id:
                return token_id
        raise TokenizerError(
            f"{where}: the vocabulary has no piece {names[0]!r}, one of ALBERT's special tokens. "
            "If it has another name here, a tokenizer_config.json beside the file must say so."
        )

    def tokenize(self, text: str) -> Tokens:
        """Cut `text` into tokens; see `Tokenizer.tokenize`."""
        check_text(text)
        source = preprocess(text, self._settings)
        pieces: list[str] = self._processor.encode(source.text, out_type=str)
        normal = "".join(pieces)
        at = -1  # in most text SentencePiece has put a mark before it and changed nothing else
        if normal != _SPACE + source.text.replace(" ", _SPACE):
            at, source = 0, self._normalize(source, normal)
        return _place(map(self._entries, pieces), source, at=at)

    def _look_up(self, piece: str) -> tuple[_Entry, ...]:
        """Return the tokens of a piece: itself, or two and more for one such as `9,`."""
        if len(piece) < 2 or piece[-1] != "," or not piece[-2].isdigit():
            return (self._entry(piece, len(piece)),)
        # The original does this for numbers, and a model learned it: encode `9` anew, then `,`.
        number = piece[:-1]
        parts: list[str] = self._processor.encode(number.replace(_SPACE, ""), out_type=str)
        if piece[0] != _SPACE and parts[0][0] == _SPACE:
            parts = parts[1:] if parts[0] == _SPACE else [parts[0][1:], *parts[1:]]
        widths = [len(part) for part in parts]
        if "".join(parts) != number:  # it had a mark inside; do not guess which part is where
            widths = [len(number), *[0] * (len(parts) - 1)]
        return (*map(self._entry, parts, widths), self._entry(",", 1))

    def _entry(self, piece: str, width: int) -> _Entry:
        token_id: int = self._processor.piece_to_id(piece)
        special = token_id in (self.cls_id, self.sep_id, self.pad_id, self.mask_id)
        if special or self._processor.is_control(token_id):
            token_id = self.unk_id
        return token_id, int(width > 0 and piece[0] == _SPACE), width

    def _normalize(self, source: Aligned, normal: str) -> Aligned:
        """Align `normal`, what SentencePiece makes of `source.text`, with the original text.

        What SentencePiece drops (control characters, ...) is in no character's span.
        """
        if not normal:
            return Aligned("", [], [])
        text, places = self._processor.normalize(source.text, with_offsets=True)
        if len(text) != len(normal):
            raise TokenizerError(
                f"this SentencePiece model changes text beyond its rules: {text!r}."
            )
        last = len(source.text) - 1
        ends = []
        stop = last + 1
        for place, after in zip(places[-2::-1], places[:0:-1], strict=True):
            if after > place:
                stop = after
                while stop - 1 > place and not self._processor.normalize(source.text[stop - 1]):
                    stop -= 1
            ends.append(source.ends[stop - 1])
        return Aligned(normal, [source.starts[min(p, last)] for p in places[:-1]], ends[::-1])

    def id_to_piece(self, token_id: int) -> str:
        """Return the piece of text that an id stands for; see `Tokenizer.id_to_piece`."""
        piece: str = self._processor.id_to_piece(*self._checked([token_id]))
        return piece

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that ids stand for; see `Tokenizer.decode`."""
        text: str = self._processor.decode(self._checked(ids))
        return text

    def _checked(self, ids: Iterable[int]) -> list[int]:
        whole = [int(token_id) for token_id in ids]  # SentencePiece takes no numpy integers
        for token_id in whole:
            if not 0 <= token_id < self.vocab_size:
                raise InputError(f"token id {token_id} is not in [0, {self.vocab_size}).")
        return whole

    def files(self) -> dict[str, bytes]:
        """Return the model and its settings; see `Tokenizer.files`."""
        return {"spiece.model": self._model, "tokenizer_config.json": self._settings.to_json()}


def _place(pieces: Iterable[Iterable[_Entry]], source: Aligned, *, at: int) -> Tokens:
    """Give each token its place in the original text; the first is at `at` in `source.text`."""
    ids: list[int] = []
    spans: list[Span] = []
    starts, ends, end = source.starts, source.ends, 0
    for entries in pieces:
        for token_id, mark, width in entries:
            begin = at + mark
            at += width
            start = starts[begin] if begin < len(starts) else end
            # A mark alone has an empty span, unless it is part of what a character was spelled as.
            end = ends[at - 1] if begin < at else max(start, end)
            ids.append(token_id)
            spans.append((start, end))
    return Tokens(ids, spans)


def _load(model: bytes, *, where: str) -> Any:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise TokenizerError(f"{where} is not a SentencePiece model, or is damaged.") from error
    if not {2, 3} <= _top_level_fields(model):
        raise TokenizerError(
            f"{where} is cut short: it ends before trainer and normalizer settings."
        )
    if processor.is_byte(processor.piece_to_id("<0x41>")):
        raise TokenizerError(f"{where} spells unknown characters in bytes; ALBERT's models do not.")
    return processor


def _top_level_fields(message: bytes) -> set[int]:
    """Collect the field numbers of a protobuf message whose fields all have a length.

    A model that is cut between two fields is a valid message, with half of the vocabulary: pieces
    (field 1) come first, the settings of trainer (2) and normalizer (3) after them.
    """
    fields, at = set(), 0
    while at + 1 < len(message):
        fields.add(message[at] >> 3)
        size, at, shift = message[at + 1] & 127, at + 2, 7
        while message[at - 1] > 127:
            size, at, shift = size | (message[at] & 127) << shift, at + 1, shift + 7
        at += size
    return fields


# Prepare text as ALBERT's original tokenizer does, and remember where every character came from.
#
# The original (google-research/albert, `tokenization.preprocess_text`; Hugging Face's slow
# `AlbertTokenizer`) works on whole strings: fold white space, turn doubled ` and ' into ",
# decompose (NFKD), drop combining marks, lower the case. Here this is done character by
# character, which is the same but for three things: quotes are matched as pairs; NFKD reorders
# marks, but only such as are dropped then; and the last lowering lets a capital sigma look at its
# neighbours, so it is done on the whole string here too, where it changes no length any more.


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


def preprocess(text: str, settings: SentencePieceConfig) -> Aligned:
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


def _by_units(text: str, settings: SentencePieceConfig) -> Aligned:
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
