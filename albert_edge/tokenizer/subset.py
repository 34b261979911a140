"""A tokenizer's vocabulary, piece by piece: what may be left out, and the tokenizer without it.

A piece that is on no best path of a text can go, and the text's best path stays.  Of unigram models
(Kudo 2018, arXiv:1804.10959) this is exact: a path's score is the sum of its pieces' scores, so the
best path only loses competitors.  Three things would give it new ones, and are kept: the piece of
the lowest score, which sets the price of an unknown character; the piece of the highest, which sets
the bonus of a symbol that a user defined; and those symbols.  A character whose own piece goes
becomes unknown on other paths, at a price that is below any piece's.

WordPiece takes the longest piece that fits, so what it took is still the longest.  But a word that
ends up unknown might become known if the pieces that led to its dead end went; they are kept.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import final

import sentencepiece

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer.base import Tokenizer
from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig
from albert_edge.tokenizer.load import tokenizer_from_files
from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint, parse_fields
from albert_edge.tokenizer.sentencepiece import preprocess
from albert_edge.tokenizer.wordpiece import clean_text, split_units, split_words

__all__ = ["Vocab", "open_vocab"]

_SPIECE, _VOCAB, _SETTINGS = "spiece.model", "vocab.txt", "tokenizer_config.json"
_INNER = "##"  # WordPiece's mark of a piece that does not begin a word


class Vocab(ABC):
    """The vocabulary of a tokenizer.

    Attributes:
        tokenizer: The tokenizer.
        always: The ids that stay whatever the texts are: special tokens, symbols that a user
            defined, single characters, and what the module's docstring names.
        scores: V numbers: how common each piece is by the vocabulary's own account.
    """

    tokenizer: Tokenizer
    always: set[int]
    scores: Sequence[float]

    @abstractmethod
    def touched(self, text: str) -> Iterable[int]:
        """Yield the ids of the pieces without which `text` might be cut in another way.

        Those of its tokens are among them only as far as they are such pieces.
        """

    @abstractmethod
    def spelled(self, token_id: int) -> bool:
        """Tell whether single characters can stand for the piece, each being a piece itself."""

    @abstractmethod
    def subset(self, ids: Sequence[int]) -> Tokenizer:
        """Return the tokenizer that has only the pieces `ids`, in ascending order, renumbered."""

    def _special(self) -> set[int]:
        one = self.tokenizer
        return {one.cls_id, one.sep_id, one.pad_id, one.unk_id, one.mask_id}


def open_vocab(tokenizer: Tokenizer) -> Vocab:
    """Look into a tokenizer's vocabulary."""
    files = tokenizer.files()
    return (_UnigramVocab if _SPIECE in files else _WordPieceVocab)(tokenizer, files)


# ModelProto: pieces, trainer_spec, self_test_data.  SentencePiece: type.  TrainerSpec: vocab_size,
# and unk_id, bos_id, eos_id and pad_id.
_PIECES, _TRAINER, _SELF_TEST = 1, 2, 4
_NORMAL, _USER_DEFINED, _UNUSED = 1, 4, 5
_VOCAB_SIZE, _TOKEN_IDS = 4, (40, 41, 42, 43)


@final
class _UnigramVocab(Vocab):
    """The pieces of a `spiece.model`."""

    def __init__(self, tokenizer: Tokenizer, files: Mapping[str, bytes]) -> None:
        self.tokenizer = tokenizer
        self._files = files
        self._settings = SentencePieceConfig().updated(files[_SETTINGS], where=_SETTINGS)
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=files[_SPIECE])
        try:
            pieces = [
                _parse(one.value) for one in parse_fields(files[_SPIECE]) if one.number == _PIECES
            ]
        except (ValueError, TypeError, struct.error) as error:
            raise TokenizerError(f"{_SPIECE} is not a SentencePiece model: {error}.") from error
        self._texts, self.scores, kinds = zip(*pieces, strict=True)
        usable = (_NORMAL, _USER_DEFINED)
        self._usable = {text for text, _, kind in pieces if kind in usable}
        self.always = self._special()
        normal = [n for n, kind in enumerate(kinds) if kind == _NORMAL]
        self.always |= {n for n in normal if len(self._texts[n]) == 1}
        self.always |= {n for n, kind in enumerate(kinds) if kind not in (_NORMAL, _UNUSED)}
        if normal:
            by_score = self.scores.__getitem__
            self.always |= {min(normal, key=by_score), max(normal, key=by_score)}
        # `9,` is cut anew behind SentencePiece; see `SentencePieceTokenizer`.
        self._recut = {
            token_id: self._processor.encode(text[:-1].replace("\u2581", ""))
            for token_id, text in enumerate(self._texts)
            if len(text) > 1 and text[-1] == "," and text[-2].isdigit()
        }

    def touched(self, text: str) -> Iterator[int]:
        ids = self._processor.encode(preprocess(text, self._settings).text)
        yield from ids
        for token_id in self._recut.keys() & ids:
            yield from self._recut[token_id]

    def spelled(self, token_id: int) -> bool:
        return self._usable.issuperset(self._texts[token_id])

    def subset(self, ids: Sequence[int]) -> Tokenizer:
        place = {token_id: index for index, token_id in enumerate(ids)}
        parts, token_id = [], -1
        for one in parse_fields(self._files[_SPIECE]):
            token_id += one.number == _PIECES
            if one.number == _TRAINER and isinstance(one.value, bytes):
                parts.append(encode_bytes(_TRAINER, _renumbered(one.value, place)))
            elif one.number == _PIECES and token_id not in place:
                continue
            elif one.number != _SELF_TEST:  # sentences that the whole vocabulary cuts so and so
                parts.append(one.raw)
        return tokenizer_from_files({**self._files, _SPIECE: b"".join(parts)})


def _parse(record: int | bytes) -> tuple[str, float, int]:
    """Return the text, score and kind of a piece."""
    if isinstance(record, int):
        raise ValueError("a piece is a number")
    values = {one.number: one.value for one in parse_fields(record)}
    text, score, kind = values.get(1, b""), values.get(2, bytes(4)), values.get(3, _NORMAL)
    if isinstance(text, int) or isinstance(score, int) or isinstance(kind, bytes):
        raise ValueError("a piece's text, score or type is of another kind")
    return text.decode(), struct.unpack("<f", score)[0], kind


def _renumbered(trainer: bytes, place: Mapping[int, int]) -> bytes:
    parts = []
    for one in parse_fields(trainer):
        if one.number == _VOCAB_SIZE:
            parts.append(encode_varint(_VOCAB_SIZE, len(place)))
        elif one.number in _TOKEN_IDS and one.value in place:
            parts.append(encode_varint(one.number, place[one.value]))  # type: ignore[index]
        else:
            parts.append(one.raw)
    return b"".join(parts)


@final
class _WordPieceVocab(Vocab):
    """The pieces of a `vocab.txt`."""

    def __init__(self, tokenizer: Tokenizer, files: Mapping[str, bytes]) -> None:
        self.tokenizer = tokenizer
        self._files = files
        self._settings = WordPieceConfig().updated(files[_SETTINGS], where=_SETTINGS)
        self._texts = [tokenizer.id_to_piece(index) for index in range(tokenizer.vocab_size)]
        special = self._special()
        # The last of equal lines counts, as for the tokenizer.
        last = {text: n for n, text in enumerate(self._texts)}
        self._ids = {text: n for text, n in last.items() if n not in special}
        self._longest = max(map(len, last))
        self.scores = [
            float(last[text] == n and self._reachable(text)) for n, text in enumerate(self._texts)
        ]
        single = {n for text, n in self._ids.items() if len(_bare(text)) == 1}
        self.always = special | {n for n in single if self.scores[n]}

    def _words(self, text: str) -> Iterator[str]:
        lower, strip = self._settings.do_lower_case, self._settings.strips_accents
        chinese = self._settings.tokenize_chinese_chars
        for unit in split_units(clean_text(text)[0], tokenize_chinese_chars=chinese):
            for word in split_words(unit.group(), do_lower_case=lower, strip_accents=strip):
                yield word.text

    def _reachable(self, piece: str) -> bool:
        """Tell whether any text has the piece: not `##` before what is always a word of its own."""
        word = piece if _bare(piece) == piece else f"a{_bare(piece)}"
        return list(self._words(word)) == [word]

    def touched(self, text: str) -> Iterator[int]:
        for word in self._words(text):
            begin, mark = 0, ""
            while begin < len(word):
                ends = range(min(len(word), begin + self._longest), begin, -1)
                end = next((at for at in ends if mark + word[begin:at] in self._ids), None)
                if end is None:
                    break
                yield self._ids[mark + word[begin:end]]
                begin, mark = end, _INNER

    def spelled(self, token_id: int) -> bool:
        text = self._texts[token_id]
        chars = list(_bare(text))
        marks = [text[: -len(chars)], *[_INNER] * (len(chars) - 1)]
        spelling = (mark + char for mark, char in zip(marks, chars, strict=True))
        return all(self._ids.get(piece) in self.always for piece in spelling)

    def subset(self, ids: Sequence[int]) -> Tokenizer:
        lines = "".join(f"{self._texts[index]}\n" for index in ids)
        return tokenizer_from_files({**self._files, _VOCAB: lines.encode()})


def _bare(piece: str) -> str:
    """Return a piece without the mark of not beginning a word."""
    return piece[len(_INNER) :] if piece.startswith(_INNER) and piece != _INNER else piece
