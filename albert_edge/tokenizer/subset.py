"""Determine the pieces of a vocabulary that texts need, and make a tokenizer with a subset.

In a unigram model (Kudo 2018, arXiv:1804.10959) the score of a segmentation is the sum of its
pieces' scores.  Removing a piece that is not in the best segmentation of a text removes only
competitors of the best one, which therefore stays the best.  Three kinds of pieces are kept because
removing them would change the scores of other segmentations: the piece with the lowest score, which
determines the score of an unknown character; the piece with the highest, which determines the bonus
of user-defined symbols; and those symbols.  A character whose own piece is removed becomes unknown
in other segmentations, with a score below that of any piece.

WordPiece uses the longest piece that matches, which stays the longest.  But an unknown word could
become known if the pieces before its first mismatch were removed; these are kept.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, final

import sentencepiece

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer.base import Tokenizer
from albert_edge.tokenizer.config import (
    CONFIG_FILE,
    SPIECE_FILE,
    VOCAB_FILE,
    SentencePieceConfig,
    WordPieceConfig,
)
from albert_edge.tokenizer.load import tokenizer_from_files
from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint, parse_fields
from albert_edge.tokenizer.sentencepiece import is_split_again, preprocess
from albert_edge.tokenizer.wordpiece import clean_text, split_units, split_words

__all__ = ["Vocab", "open_vocab"]

_Config = TypeVar("_Config", SentencePieceConfig, WordPieceConfig)
_CONTINUATION = "##"  # WordPiece's mark of a piece that does not begin a word

# ModelProto: pieces, trainer_spec, self_test_data.  SentencePiece: type.  TrainerSpec: vocab_size,
# and unk_id, bos_id, eos_id and pad_id.
_PIECES, _TRAINER, _SELF_TEST = 1, 2, 4
_NORMAL, _USER_DEFINED, _UNUSED = 1, 4, 5
_VOCAB_SIZE, _TOKEN_IDS = 4, (40, 41, 42, 43)


class Vocab(ABC):
    """The vocabulary of a tokenizer.

    Attributes:
        tokenizer: The tokenizer.
        required_ids: The ids to keep for all texts: special tokens, user-defined symbols, single
            characters, and those that the module's docstring names.
        scores: V numbers: the frequency of each piece according to the vocabulary.
    """

    tokenizer: Tokenizer
    required_ids: set[int]
    scores: Sequence[float]

    @abstractmethod
    def used_ids(self, text: str) -> Iterable[int]:
        """Yield the ids of the pieces without which the tokens of `text` might change.

        The ids of its tokens are not always among them, for example those of unknown words.
        """

    @abstractmethod
    def char_coverable(self, token_id: int) -> bool:
        """Return whether each character of the piece is a piece itself, which stays."""

    @abstractmethod
    def subset(self, ids: Sequence[int]) -> Tokenizer:
        """Return the tokenizer with only the pieces `ids`, in ascending order, renumbered."""

    def _special_ids(self) -> set[int]:
        one = self.tokenizer
        return {one.cls_id, one.sep_id, one.pad_id, one.unk_id, one.mask_id, *one.added}


def open_vocab(tokenizer: Tokenizer) -> Vocab:
    """Return the vocabulary of a tokenizer."""
    files = tokenizer.files()
    return (_UnigramVocab if SPIECE_FILE in files else _WordPieceVocab)(tokenizer, files)


@final
class _UnigramVocab(Vocab):
    """The vocabulary of a `spiece.model`."""

    def __init__(self, tokenizer: Tokenizer, files: Mapping[str, bytes]) -> None:
        self.tokenizer = tokenizer
        self._files = files
        self._config = SentencePieceConfig().updated_from_files(files, where="the tokenizer")
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=files[SPIECE_FILE])
        try:
            pieces = [
                _parse_piece(field.value)
                for field in parse_fields(files[SPIECE_FILE])
                if field.number == _PIECES
            ]
        except (ValueError, TypeError, struct.error) as error:
            raise TokenizerError(f"{SPIECE_FILE} is not a SentencePiece model: {error}.") from error
        self._texts, scores, kinds = zip(*pieces, strict=True)
        # Added tokens have no score, and stay; an id without a piece is the first to go.
        self.scores = (*scores, *[-math.inf] * (tokenizer.vocab_size - len(scores)))
        regular = (_NORMAL, _USER_DEFINED)
        self._regular = {text for text, _, kind in pieces if kind in regular}
        self.required_ids = self._special_ids()
        normal = [n for n, kind in enumerate(kinds) if kind == _NORMAL]
        self.required_ids |= {n for n in normal if len(self._texts[n]) == 1}
        self.required_ids |= {n for n, kind in enumerate(kinds) if kind not in (_NORMAL, _UNUSED)}
        if normal:
            by_score = self.scores.__getitem__
            self.required_ids |= {min(normal, key=by_score), max(normal, key=by_score)}

    def used_ids(self, text: str) -> Iterator[int]:
        for part in self.tokenizer.plain_parts(text):
            prepared = preprocess(part, self._config).text
            yield from self._processor.encode(prepared)
            # Unknown pieces are split again too.
            for piece in self._processor.encode(prepared, out_type=str):
                if is_split_again(piece):
                    yield from self._processor.encode(piece[:-1].replace("\u2581", ""))

    def char_coverable(self, token_id: int) -> bool:
        return self._regular.issuperset(self.tokenizer.id_to_piece(token_id))

    def subset(self, ids: Sequence[int]) -> Tokenizer:
        new_ids = {token_id: index for index, token_id in enumerate(ids)}
        parts, token_id = [], -1
        for field in parse_fields(self._files[SPIECE_FILE]):
            token_id += field.number == _PIECES
            if field.number == _TRAINER and isinstance(field.value, bytes):
                parts.append(encode_bytes(_TRAINER, _renumber_trainer(field.value, new_ids)))
            elif field.number == _PIECES and token_id not in new_ids:
                continue
            elif field.number != _SELF_TEST:  # sentences with the tokens of the whole vocabulary
                parts.append(field.raw)
        files = {SPIECE_FILE: b"".join(parts), CONFIG_FILE: _renumber_added(self._config, new_ids)}
        return tokenizer_from_files(files)


def _renumber_added(config: _Config, new_ids: Mapping[int, int]) -> bytes:
    """Return a `tokenizer_config.json` in which the added tokens have their new ids."""
    tokens = [token for token in config.added_tokens if token.id in new_ids]
    renumbered = tuple(replace(token, id=new_ids[token.id or 0]) for token in tokens)
    return replace(config, added_tokens=renumbered).to_json()


def _parse_piece(record: int | bytes) -> tuple[str, float, int]:
    """Return the text, score and type of a piece."""
    if isinstance(record, int):
        raise ValueError("a piece is a number")
    values = {field.number: field.value for field in parse_fields(record)}
    text, score, kind = values.get(1, b""), values.get(2, bytes(4)), values.get(3, _NORMAL)
    if isinstance(text, int) or isinstance(score, int) or isinstance(kind, bytes):
        raise ValueError("a piece's text, score or type has the wrong wire type")
    return text.decode(), struct.unpack("<f", score)[0], kind


def _renumber_trainer(trainer: bytes, new_ids: Mapping[int, int]) -> bytes:
    parts = []
    for field in parse_fields(trainer):
        if field.number == _VOCAB_SIZE:
            parts.append(encode_varint(_VOCAB_SIZE, len(new_ids)))
        elif field.number in _TOKEN_IDS and field.value in new_ids:
            parts.append(encode_varint(field.number, new_ids[field.value]))  # type: ignore[index]
        else:
            parts.append(field.raw)
    return b"".join(parts)


@final
class _WordPieceVocab(Vocab):
    """The vocabulary of a `vocab.txt`."""

    def __init__(self, tokenizer: Tokenizer, files: Mapping[str, bytes]) -> None:
        self.tokenizer = tokenizer
        self._files = files
        self._config = WordPieceConfig().updated_from_files(files, where="the tokenizer")
        self._texts = [tokenizer.id_to_piece(index) for index in range(tokenizer.vocab_size)]
        special = self._special_ids()
        # The last of equal lines counts, as in the tokenizer.
        last = {text: n for n, text in enumerate(self._texts)}
        self._ids = {text: n for text, n in last.items() if n not in special}
        self._longest = max(map(len, last))
        self.scores = [
            float(last[text] == n and self._reachable(text)) for n, text in enumerate(self._texts)
        ]
        single = {n for text, n in self._ids.items() if len(_without_mark(text)) == 1}
        self.required_ids = special | {n for n in single if self.scores[n]}

    def _words(self, text: str) -> Iterator[str]:
        lower, strip = self._config.do_lower_case, self._config.strips_accents
        chinese = self._config.tokenize_chinese_chars
        for part in self.tokenizer.plain_parts(text):
            for unit in split_units(clean_text(part)[0], tokenize_chinese_chars=chinese):
                for word in split_words(unit.group(), do_lower_case=lower, strip_accents=strip):
                    yield word.text

    def _reachable(self, piece: str) -> bool:
        """Return whether a text can have the piece; not `##` before a character that is a word."""
        word = piece if _without_mark(piece) == piece else f"a{_without_mark(piece)}"
        return list(self._words(word)) == [word]

    def used_ids(self, text: str) -> Iterator[int]:
        for word in self._words(text):
            begin, mark = 0, ""
            while begin < len(word):
                ends = range(min(len(word), begin + self._longest), begin, -1)
                end = next((at for at in ends if mark + word[begin:at] in self._ids), None)
                if end is None:
                    break
                yield self._ids[mark + word[begin:end]]
                begin, mark = end, _CONTINUATION

    def char_coverable(self, token_id: int) -> bool:
        text = self._texts[token_id]
        chars = list(_without_mark(text))
        marks = [text[: -len(chars)], *[_CONTINUATION] * (len(chars) - 1)]
        pieces = (mark + char for mark, char in zip(marks, chars, strict=True))
        return all(self._ids.get(piece) in self.required_ids for piece in pieces)

    def subset(self, ids: Sequence[int]) -> Tokenizer:
        new_ids = {token_id: index for index, token_id in enumerate(ids)}
        pieces = (self._texts[n] for n in ids if n < self.tokenizer.piece_count)
        lines = "".join(f"{piece}\n" for piece in pieces)
        config = _renumber_added(self._config, new_ids)
        return tokenizer_from_files({VOCAB_FILE: lines.encode(), CONFIG_FILE: config})


def _without_mark(piece: str) -> str:
    """Return a piece without the mark `##`."""
    return (
        piece[len(_CONTINUATION) :]
        if piece.startswith(_CONTINUATION) and piece != _CONTINUATION
        else piece
    )
