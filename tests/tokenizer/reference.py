"""What the original tokenizers do, written plainly, and texts to try it on."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import sentencepiece
from hypothesis import settings
from hypothesis import strategies as st

from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig

DATA = Path(__file__).parents[1] / "data"
ALBERT_GOLDEN = json.loads((DATA / "tokenizer_golden.json").read_text("utf-8"))
BERT_GOLDEN = json.loads((DATA / "wordpiece_golden.json").read_text("utf-8"))


def reference_text(text: str, options: SentencePieceConfig) -> str:
    """Hugging Face's slow `AlbertTokenizer` from `tokenize` up to SentencePiece, whole strings."""
    if options.do_lower_case:
        text = "".join(char.lower() for char in text)
    if options.remove_space:
        text = " ".join(text.strip().split())
    text = text.replace("``", '"').replace("''", '"')
    if not options.keep_accents:
        text = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in text if not unicodedata.combining(char))
    return text.lower() if options.do_lower_case else text


def reference_ids(text: str, options: SentencePieceConfig, model: bytes) -> list[int]:
    """The rest of it.  Only that a run of unknown characters is never a control piece is ours."""
    processor = _processor(model)
    pieces: list[str] = []
    for piece in processor.encode(reference_text(text, options), out_type=str):
        if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
            parts = processor.encode(piece[:-1].replace("▁", ""), out_type=str)
            if piece[0] != "▁" and parts[0][0] == "▁":
                if len(parts[0]) == 1:
                    parts = parts[1:]
                else:
                    parts[0] = parts[0][1:]
            pieces += [*parts, ","]
        else:
            pieces.append(piece)
    ids = [processor.piece_to_id(piece) for piece in pieces]
    return [processor.unk_id() if processor.is_control(n) else n for n in ids]


@lru_cache
def _processor(model: bytes) -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def bert_words(text: str, options: WordPieceConfig) -> list[str]:
    """Hugging Face's slow `BertTokenizer` up to WordPiece, on whole strings."""
    if options.do_lower_case:
        text = "".join(char.lower() for char in text)
    kept = ""
    for char in text:
        kind = unicodedata.category(char)
        if char in "\t\n\r" or kind == "Zs":
            kept += " "
        elif kind[0] != "C" and char != "\ufffd":
            chinese = options.tokenize_chinese_chars and is_chinese(ord(char))
            kept += f" {char} " if chinese else char
    words = []
    for word in unicodedata.normalize("NFC", kept).split():
        word = word.lower() if options.do_lower_case else word
        if options.do_lower_case if options.strip_accents is None else options.strip_accents:
            word = unicodedata.normalize("NFD", word)
            word = "".join(char for char in word if unicodedata.category(char) != "Mn")
        for mark, group in groupby(word, is_punctuation):
            chars = list(group)
            words += chars if mark else ["".join(chars)]
    return words


def is_chinese(n: int) -> bool:
    basic = 0x4E00 <= n <= 0x9FFF or 0x3400 <= n <= 0x4DBF or 0xF900 <= n <= 0xFAFF
    return basic or 0x20000 <= n <= 0x2A6DF or 0x2A700 <= n <= 0x2CEAF or 0x2F800 <= n <= 0x2FA1F


def is_punctuation(char: str) -> bool:
    n = ord(char)
    ascii_mark = 33 <= n <= 47 or 58 <= n <= 64 or 91 <= n <= 96 or 123 <= n <= 126
    return ascii_mark or unicodedata.category(char).startswith("P")


def bert_ids(text: str, options: WordPieceConfig, vocab: Mapping[str, int]) -> list[int]:
    """The rest of it."""
    ids: list[int] = []
    for word in bert_words(text, options):
        found: list[int] = []
        start = 0
        while start < len(word) <= 100:
            ends = range(len(word), start, -1)
            inner = "##" if start else ""
            end = next((end for end in ends if inner + word[start:end] in vocab), None)
            if end is None:
                break
            found.append(vocab[inner + word[start:end]])
            start = end
        ids += found if start == len(word) else [vocab[options.unk_token]]
    return ids


def special_ids(
    text: str, names: Mapping[str, int], *, lower: bool, cut: Callable[[str], list[int]]
) -> list[int]:
    """Hugging Face's slow `tokenize` of text in which names of special tokens are tokens."""
    any_name = "|".join(map(re.escape, names))
    if lower:
        text = re.sub(rf"({any_name})|(.+?)", lambda m: m[1] or m[2].lower(), text)
    parts = re.split(f"({any_name})", text)
    for at, part in enumerate(parts):
        if part == "[MASK]":
            parts[at - 1] = parts[at - 1].rstrip()
    return [n for part in parts for n in ([names[part]] if part in names else cut(part))]


def assert_sound(offsets: list[Any], text: str) -> None:
    for start, end in offsets:
        assert 0 <= start <= end <= len(text)
    for (start, end), (next_start, next_end) in pairwise(offsets):
        assert start <= next_start
        assert end <= next_end


# Every plane, with the characters that the rules are about as likely as all others together.
NASTY = [
    *"aBz 9,.'`\"()-▁ΣςσİıÅ=>\t\n\r\0\x07\x1c\x7f\x85\xa0\xad\ufffd",
    *("``", "''", "9,", "12, ", " 7,", "[MASK]", " [CLS]", "<pad>", "<PAD>", "[PAD]", "[UNK]"),
    *("the ", "1998,", "²,", "፩,", "un", "able"),
    *"\u0301\u0323\u0338\u0345\u200b\u200d\u2028\u3000\ufeff\ufe0f",
    *"éﬁﷺ①Ａ９，가\u1100\u1161\u11a8がガ漢\ufa0e\ufa6e\u09c7\u09be𝚺😀👩🏽\U000e0001\U0010ffff",
]
_ANY = st.characters(codec="utf-8")
TEXT = st.lists(st.sampled_from(NASTY) | _ANY, max_size=30).map("".join)
SETTINGS = st.builds(
    SentencePieceConfig,
    do_lower_case=st.booleans(),
    remove_space=st.booleans(),
    keep_accents=st.booleans(),
)

BERT_SETTINGS = st.builds(
    WordPieceConfig,
    do_lower_case=st.booleans(),
    tokenize_chinese_chars=st.booleans(),
    strip_accents=st.none() | st.booleans(),
)
IN_SESSION = settings(max_examples=300, deadline=None)
