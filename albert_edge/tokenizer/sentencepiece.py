"""The SentencePiece tokenizer of ALBERT: `spiece.model`.

The original (google-research/albert, `tokenization.preprocess_text`; Hugging Face's slow
`AlbertTokenizer`) normalizes whole strings: fold white space, replace doubled ` and ' by ",
decompose (NFKD), remove combining marks, convert to lower case.  Here `preprocess` does this
character by character, to keep the span of every character.  Three steps depend on neighbours:
doubled quotes are matched as pairs; NFKD reorders marks, but only those that are removed later; and
the lower case of a capital sigma depends on its word, so the whole string is converted once more at
the end, which no longer changes any length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, final

import sentencepiece

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer.base import Span, Tokenizer, Tokens, resolve_added_tokens
from albert_edge.tokenizer.config import CONFIG_FILE, SPIECE_FILE, SentencePieceConfig

_SPACE = "\u2581"  # SentencePiece's mark for the space before a word
# A token's id, the width of the mark at its start (0 or 1), and its width with the mark.
_PieceToken = tuple[int, int, int]
# Group 1: doubled quotes; 2: white space to fold; 3: a run of which only the case changes.
# No group: any other character.
_UNIT = r"(``|'')|({})|([!-&(-_a-~]+(?:[ '`][!-&(-_a-~]+)*)|."
_FOLDING_SPACE = re.compile(_UNIT.format(r"\s+"), re.DOTALL)
_KEEPING_SPACE = re.compile(_UNIT.format("(?!)"), re.DOTALL)


@final
class SentencePieceTokenizer(Tokenizer):
    """The tokenizer of the original ALBERT, with the ids of Hugging Face's slow `AlbertTokenizer`.

    The only difference: the name of a special token in the text is treated as text.
    """

    def __init__(
        self, model: bytes, config: SentencePieceConfig, *, where: str = SPIECE_FILE
    ) -> None:
        """Load a SentencePiece model.

        Args:
            model: The content of a `spiece.model`.
            config: The normalization, and the names of the special tokens.
            where: The name of the file, for error messages.

        Raises:
            TokenizerError: The model is damaged, or not one that ALBERT can use.
        """
        self._model = model
        self._where = where
        self.do_lower_case = config.do_lower_case
        self.truncation_side = config.truncation_side
        self.model_max_length = config.model_max_length
        self._processor = _load(model, where=where)
        self.unk_id = self._processor.unk_id()
        self.piece_count: int = self._processor.get_piece_size()
        ends = (config.bos_token, config.eos_token)
        # In transformers, a token in the place of a piece hides the piece.
        places = [(n.id, n.content) for n in config.added_tokens if n.id is not None]
        hides = sum(n < self.piece_count and self._find(name) != n for n, name in places)
        added = resolve_added_tokens(
            config.added_tokens,
            self._find,
            distinct=self.piece_count - hides,
            unlisted=ends,
            where=where,
        )
        self.added = {token.id: token for token in added if token.id is not None}
        self.vocab_size = max(self.piece_count, 1 + max(self.added, default=0))
        self._config = replace(config, added_tokens=added)
        self._ids = {token.content: token_id for token_id, token in self.added.items()}
        self.cls_id = self._special_id(config.cls_token, where=where)
        self.sep_id = self._special_id(config.sep_token, where=where)
        self.pad_id = self._special_id(config.pad_token, "[PAD]", where=where)
        self.mask_id = self._special_id(config.mask_token, where=where)
        hidden = frozenset((self.cls_id, self.sep_id, self.pad_id, self.mask_id))
        unmatched = {
            *hidden,
            self.unk_id,
            *(self._ids.get(name, self._find(name)) for name in ends),
        }
        self.matched = {n: token for n, token in self.added.items() if n not in unmatched}
        # Larger than ALBERT's vocabulary: each piece is converted once.  The function does not
        # refer to the tokenizer, which would then be freed by the garbage collector only.
        convert = _PieceConverter(self._processor, hidden, self._ids)
        self._tokens_of = lru_cache(maxsize=1 << 15)(convert)

    def _find(self, name: str) -> int | None:
        token_id: int = self._processor.piece_to_id(name)
        found = token_id != self.unk_id or self._processor.id_to_piece(token_id) == name
        return token_id if found else None

    def _special_id(self, *names: str, where: str) -> int:
        for name in names:
            token_id = self._ids.get(name, self._find(name))
            if token_id not in (None, self.unk_id):
                return token_id
        raise TokenizerError(
            f"{where}: the vocabulary has no piece {names[0]!r}, one of ALBERT's special tokens. "
            "If it has another name, give it in a tokenizer_config.json next to the file."
        )

    def _tokenize(self, text: str) -> Tokens:
        source = preprocess(text, self._config)
        try:
            pieces: list[str] = self._processor.encode(source.text, out_type=str)
            normal = "".join(pieces)
            at = -1  # in most texts SentencePiece only adds a mark at the start
            if normal != _SPACE + source.text.replace(" ", _SPACE):
                at, source = 0, self._align_normalized(source, normal)
            return _locate_tokens(map(self._tokens_of, pieces), source, at=at)
        except UnicodeDecodeError as error:
            raise self._not_unicode(error) from error

    def _not_unicode(self, error: UnicodeDecodeError) -> TokenizerError:
        return TokenizerError(f"{self._where} is damaged: a piece or a rule is not UTF-8: {error}.")

    def _align_normalized(self, source: AlignedText, normal: str) -> AlignedText:
        """Align `normal`, the normalization of `source.text` by SentencePiece, with the original.

        Characters that SentencePiece removes (control characters, ...) are in no span.
        """
        if not normal:
            return AlignedText("", [], [])
        text, offsets = self._processor.normalize(source.text, with_offsets=True)
        if len(text) != len(normal):
            raise TokenizerError(
                f"this SentencePiece model does not follow its own normalization rules: {text!r}."
            )
        last = len(source.text) - 1
        ends = []
        stop = last + 1
        for start, after in zip(offsets[-2::-1], offsets[:0:-1], strict=True):
            if after > start:
                stop = after
                while stop - 1 > start and not self._processor.normalize(source.text[stop - 1]):
                    stop -= 1
            ends.append(source.ends[stop - 1])
        return AlignedText(normal, [source.starts[min(n, last)] for n in offsets[:-1]], ends[::-1])

    def _piece(self, token_id: int) -> str:
        try:
            piece: str = (
                self._processor.id_to_piece(token_id) if token_id < self.piece_count else ""
            )
        except UnicodeDecodeError as error:
            raise self._not_unicode(error) from error
        return piece

    def _decode(self, ids: Sequence[int]) -> str:
        try:
            text: str = self._processor.decode([n for n in ids if n < self.piece_count])
        except UnicodeDecodeError as error:
            raise self._not_unicode(error) from error
        return text

    def files(self) -> dict[str, bytes]:
        """Return the model and its configuration; see `Tokenizer.files`."""
        return {SPIECE_FILE: self._model, CONFIG_FILE: self._config.to_json()}


def is_split_again(piece: str) -> bool:
    """Return whether the tokenizer splits a piece of SentencePiece again: one such as `9,`."""
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


@dataclass(frozen=True, slots=True)
class _PieceConverter:
    """Converts a piece to tokens.

    Attributes:
        processor: The SentencePiece model.
        hidden: The ids of special tokens, which no text contains.
        added: The ids of added tokens by name, which precede those of pieces.
    """

    processor: Any
    hidden: frozenset[int]
    added: Mapping[str, int]

    def __call__(self, piece: str) -> tuple[_PieceToken, ...]:
        """Return the tokens of a piece: one, or several for a piece such as `9,`."""
        if not is_split_again(piece):
            return (self._token(piece, len(piece)),)
        # As in the original tokenizer: encode `9` again, then append `,`.
        number = piece[:-1]
        parts: list[str] = self.processor.encode(number.replace(_SPACE, ""), out_type=str)
        if piece[0] != _SPACE and parts[0][0] == _SPACE:
            parts = parts[1:] if parts[0] == _SPACE else [parts[0][1:], *parts[1:]]
        widths = [len(part) for part in parts]
        if "".join(parts) != number:  # there was a mark inside: the parts cannot be located
            widths = [len(number), *[0] * (len(parts) - 1)]
        return (*map(self._token, parts, widths), self._token(",", 1))

    def _token(self, piece: str, width: int) -> _PieceToken:
        token_id: int = self.added.get(piece, -1)
        if token_id < 0:
            token_id = self.processor.piece_to_id(piece)
            if self.processor.is_control(token_id):
                token_id = self.processor.unk_id()
        if token_id in self.hidden:
            token_id = self.processor.unk_id()
        return token_id, int(width > 0 and piece[0] == _SPACE), width


@dataclass(frozen=True, slots=True)
class AlignedText:
    """A normalized text, with the span of every character in the original.

    Attributes:
        text: The normalized text, C characters.
        starts: C numbers: the start of each character in the original, in code points.
        ends: C numbers: the ends.  A removed mark belongs to the character before it.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def preprocess(text: str, config: SentencePieceConfig) -> AlignedText:
    """Normalize `text` for SentencePiece.

    Example:
        >>> preprocess("  Caf\u00e9 ``X''", SentencePieceConfig())
        AlignedText(text='cafe "x"', starts=[2, 3, 4, 5, 6, 7, 9, 10], ends=[3, 4, 5, 6, 7, ...
    """
    if text.isascii():
        source = text.strip() if config.remove_space else text
        plain = " ".join(source.split()) if config.remove_space else text
        plain = plain.replace("``", '"').replace("''", '"')
        if len(plain) == len(source):  # only white space at the ends was removed
            first = text.find(source)
            plain = plain.lower() if config.do_lower_case else plain
            return AlignedText(
                plain, range(first, first + len(plain)), range(first + 1, first + len(plain) + 1)
            )
    return _preprocess_units(text, config)


def _locate_tokens(
    pieces: Iterable[Iterable[_PieceToken]], source: AlignedText, *, at: int
) -> Tokens:
    """Return the tokens with their spans in the original; the first begins at `source.text[at]`."""
    ids: list[int] = []
    spans: list[Span] = []
    starts, ends, end = source.starts, source.ends, 0
    for tokens in pieces:
        for token_id, mark, width in tokens:
            begin = at + mark
            at += width
            start = starts[begin] if begin < len(starts) else end
            # A mark alone has an empty span, unless it is one of several tokens of a character.
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
    # Reading the pieces one by one takes as long as an inference.
    if not any({2, 3} <= _top_level_fields(model, at) for at in (_last_piece(model, processor), 0)):
        raise TokenizerError(
            f"{where} is cut short: it ends before the settings of trainer and normalizer."
        )
    if processor.is_byte(processor.piece_to_id("<0x41>")):
        raise TokenizerError(
            f"{where} encodes unknown characters as bytes, which is not supported; ALBERT's do not."
        )
    return processor


def _last_piece(model: bytes, processor: Any) -> int:
    """Return where the last piece seems to begin; 0 if it is not found."""
    piece = processor.id_to_piece(processor.get_piece_size() - 1).encode()
    if len(piece) > 100:  # a longer one has a longer header
        return 0
    return max(model.rfind(bytes([0x0A, len(piece)]) + piece) - 2, 0)


def _top_level_fields(message: bytes, at: int) -> set[int]:
    """Return the field numbers of a protobuf message in which all fields have a length.

    A model that is cut between two fields is a valid message with a part of the vocabulary: the
    pieces (field 1) come before the settings of the trainer (2) and of the normalizer (3).
    """
    fields = set()
    while at + 1 < len(message):
        fields.add(message[at] >> 3)
        size, at, shift = message[at + 1] & 127, at + 2, 7
        while message[at - 1] > 127:
            size, at, shift = size | (message[at] & 127) << shift, at + 1, shift + 7
        at += size
    return fields


def _preprocess_units(text: str, config: SentencePieceConfig) -> AlignedText:
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    units = _FOLDING_SPACE if config.remove_space else _KEEPING_SPACE
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
            part = _fold_char(part, config.do_lower_case, config.keep_accents)
            if not part and ends:
                ends[-1] = end
        parts.append(part)
        starts.extend([start] * len(part))
        ends.extend([end] * len(part))
    plain = "".join(parts)
    return AlignedText(plain.lower() if config.do_lower_case else plain, starts, ends)


@lru_cache(maxsize=1 << 14)
def _fold_char(char: str, do_lower_case: bool, keep_accents: bool) -> str:
    # Hugging Face first converts each character by itself to lower case.
    char = char.lower() if do_lower_case else char
    if keep_accents:
        return char
    return "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
