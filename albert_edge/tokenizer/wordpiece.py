"""BERT's WordPiece, as Chinese and some other ALBERT checkpoints use it: `vocab.txt`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import final

from albert_edge.errors import InputError, TokenizerError
from albert_edge.tokenizer.base import Span, Tokenizer, Tokens, check_text
from albert_edge.tokenizer.basic import Word, find_units, keep_characters, split_words
from albert_edge.tokenizer.settings import WordPieceSettings

__all__ = ["WordPieceTokenizer"]

_INNER = "##"  # the mark of a piece that does not begin a word
_LONGEST_WORD = 100  # characters; the original gives up on longer ones, and so must we
# A token's id, and its span in the unit that it was cut from.
_Entry = tuple[int, int, int]


@final
class WordPieceTokenizer(Tokenizer):
    """The tokenizer of the original BERT; gives the ids of Hugging Face's slow `BertTokenizer`.

    They differ in one thing: here the name of a special token in the text is text.
    """

    def __init__(
        self, vocab: bytes, settings: WordPieceSettings, *, where: str = "vocab.txt"
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
        kept, places = keep_characters(text)
        chinese = self._settings.tokenize_chinese_chars
        ids: list[int] = []
        spans: list[Span] = []
        for match in find_units(kept, tokenize_chinese_chars=chinese):
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
