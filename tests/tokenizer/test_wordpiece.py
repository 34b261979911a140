"""Ids are the original BERT's, offsets point into the original text, and bad files say so."""

from __future__ import annotations

import random
import shutil
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.checkpoints import read_checkpoint
from albert_edge.errors import InputError, TokenizerError
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.tokenizer.config import WordPieceConfig
from albert_edge.tokenizer.wordpiece import (
    Word,
    WordPieceTokenizer,
    clean_text,
    split_units,
    split_words,
)
from tokenizer.reference import (
    BERT_GOLDEN,
    BERT_SETTINGS,
    DATA,
    IN_SESSION,
    TEXT,
    assert_sound,
    bert_words,
)

SPECIAL = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"


@pytest.mark.parametrize("kind", BERT_GOLDEN["settings"])
def test_golden_ids(vocab: bytes, kind: str) -> None:
    tokenizer = WordPieceTokenizer(vocab, WordPieceConfig(**BERT_GOLDEN["settings"][kind]))
    for case in BERT_GOLDEN["texts"]:
        tokens = tokenizer.tokenize(case["text"])
        assert tokens.ids == case[kind], case["text"]
        assert_sound(tokens.offsets, case["text"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Unaffable, the café!", ["Un", "aff", "able", ",", "the", "café", "!"]),
        ("巴黎是ALBERT的首都。", ["巴", "黎", "是", "ALBERT", "的", "首", "都", "。"]),
        ("\u200bzero\u200bwidth\u200b the", ["zero\u200bwidth", "the"]),
        ("cafe\u0301\u200b the", ["cafe\u0301", "the"]),
        ("the\u0007the", ["the", "\u0007the"]),
        ("the\u2028the\u00a0the", ["the", "the", "the"]),
        ("the 🙂🙂 the", ["the", "🙂🙂", "the"]),
    ],
)
def test_spans_cut_pieces_from_the_original(
    wordpiece: Tokenizer, text: str, parts: list[str]
) -> None:
    # A span begins where its own first character is: a dropped one belongs to no piece.
    spans = wordpiece.tokenize(text).offsets
    assert [text[start:end] for start, end in spans] == [part.lstrip("\u200b\7") for part in parts]


def test_a_word_is_unknown_as_a_whole(wordpiece: Tokenizer) -> None:
    tokens = wordpiece.tokenize("the unaff漢able xyz🙂xyz " + "a" * 101)
    unknown = [span for n, span in zip(*tokens, strict=True) if n == wordpiece.unk_id]
    assert unknown == [(15, 22), (23, 124)]


def test_special_tokens_in_text_are_text() -> None:
    # Even where a name is a plain word, which the original would take for the token.
    settings = WordPieceConfig(mask_token="mask", do_lower_case=False)  # noqa: S106
    blob = (SPECIAL.replace("[MASK]", "mask") + "ma\n##sk\n[\n]\nCLS\n").encode()
    tokenizer = WordPieceTokenizer(blob, settings)
    assert tokenizer.tokenize("mask [CLS]").ids == [5, 6, 7, 9, 8]
    assert tokenizer.encode("mask", allow_special=True).input_ids == [2, 4, 3]


@pytest.mark.parametrize("unit", ["a", "the ", "\u200b", "e\u0301", "😀", "漢", "!", "กข"])
def test_a_very_long_line(wordpiece: Tokenizer, unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert_sound(wordpiece.tokenize(text).offsets, text)


def test_ids_back_to_text(wordpiece: Tokenizer) -> None:
    encoding = wordpiece.encode("Unaffable, 巴黎!", "the café")
    assert wordpiece.decode(encoding.input_ids) == "unaffable , 巴 黎 ! the cafe"
    assert wordpiece.id_to_piece(wordpiece.cls_id) == "[CLS]"
    for token_id in (-1, wordpiece.vocab_size):
        with pytest.raises(InputError, match=rf"token id {token_id} is not in \[0, "):
            wordpiece.decode([token_id])


@pytest.mark.parametrize("text", ["a\ud83dz", b"a"])
def test_what_is_no_text(wordpiece: Tokenizer, text: Any) -> None:
    with pytest.raises(InputError, match=r"half of a surrogate pair|must be a str"):
        wordpiece.tokenize(text)


def test_lines_are_what_python_reads_from_the_file(tmp_path: Path) -> None:
    # U+2028 and U+0085 end a line for `splitlines` but not in a file; of equal lines the last
    # counts; blank ones at the end are none.
    pieces = [*SPECIAL.split(), "a", "\u2028", "", "b", "\x85", "b"]
    blobs = [(end.join(pieces) + end + end).encode() for end in ("\n", "\r\n", "\r")]
    for blob in (*blobs, b"\xef\xbb\xbf" + blobs[0]):
        tokenizer = tokenizer_from_files({"vocab.txt": blob})
        assert tokenizer.vocab_size == 11
        assert tokenizer.tokenize("a b").ids == [5, 10]
        assert [tokenizer.id_to_piece(n) for n in (6, 7, 9)] == ["\u2028", "", "\x85"]
    path = tmp_path / "vocab.txt"
    path.write_bytes(blobs[1])
    assert path.read_text("utf-8").split("\n")[: len(pieces)] == pieces


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", r"no piece '\[UNK\]', one of BERT's special tokens"),
        (SPECIAL.replace("[MASK]", "<mask>").encode(), r"no piece '\[MASK\]'"),
        (b"[PAD]\n\xff\xd8\xff\xe0", "vocab.txt in these files is not a vocabulary: byte 6 is not"),
    ],
)
def test_a_vocabulary_that_is_none(blob: bytes, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_files({"vocab.txt": blob})


def test_a_checkpoint_brings_its_vocabulary(vocab: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "chinese"
    shutil.copytree(DATA / "parity" / "two_groups_answers", folder)
    fitting = b"".join(vocab.splitlines(keepends=True)[:40])  # the embedding has 40 rows
    (folder / "vocab.txt").write_bytes(fitting)
    (folder / "tokenizer_config.json").write_bytes(b'{"tokenizer_class": "BertTokenizerFast"}')
    files = read_checkpoint(folder).tokenizer_files
    assert tokenizer_from_files(files).files()["vocab.txt"] == fitting


@pytest.mark.slow
@pytest.mark.parametrize("language", ["english", "chinese"])
def test_a_million_bytes_a_second(language: str) -> None:
    draw = random.Random(3)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(draw.choices(letters, k=draw.randint(1, 9))) for _ in range(20_000)]
    han = [chr(n) for n in range(0x4E00, 0x5E00)]
    inner = [f"##{char}" for char in letters]
    blob = SPECIAL + "\n".join([*letters, *inner, ",", ".", "，", "。", *words[::2], *han])
    tokenizer = WordPieceTokenizer(blob.encode(), WordPieceConfig())
    if language == "english":
        chosen = (words[min(int(draw.paretovariate(0.7)), 19_999)] for _ in range(200_000))
        text = "".join(
            f"{word.title()}, " if n % 9 == 0 else f"{word} " for n, word in enumerate(chosen)
        )
    else:
        text = "".join(
            f"{char}，" if n % 9 == 0 else char
            for n, char in enumerate(draw.choices(han, k=400_000))
        )
    begin = time.process_time()
    for at in range(0, len(text), 1000):
        tokenizer.tokenize(text[at : at + 1000])
    assert len(text.encode()) / (time.process_time() - begin) > 1e6


def words_of(text: str, options: WordPieceConfig) -> list[Word]:
    kept, _ = clean_text(text)
    lower, strip = options.do_lower_case, options.strips_accents
    return [
        word
        for unit in split_units(kept, tokenize_chinese_chars=options.tokenize_chinese_chars)
        for word in split_words(unit.group(), do_lower_case=lower, strip_accents=strip)
    ]


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("around", ["{}", "a{}b", "{}\u0338 ", "e{}\u0301", "{0}{0}"])
def test_every_character(around: str, lower: bool) -> None:
    options = WordPieceConfig(do_lower_case=lower)
    # Beyond the third plane are only tags and nothing.
    chars = [chr(n) for n in (*range(0xD800), *range(0xE000, 0x30000))]
    wanted = range(0, len(chars), 1 if around == "{}" else 23)
    for at in range(0, len(wanted), 2048):
        text = " ".join(around.format(chars[n]) for n in wanted[at : at + 2048])
        assert [word.text for word in words_of(text, options)] == bert_words(text, options)


@settings(max_examples=100, deadline=None)
@given(text=TEXT, options=BERT_SETTINGS)
def test_places(text: str, options: WordPieceConfig) -> None:
    for word in words_of(text, options):
        assert len(word.text) == len(word.starts) == len(word.ends) > 0
        assert all(start < end for start, end in zip(word.starts, word.ends, strict=True))
        assert_sound(list(zip(word.starts, word.ends, strict=True)), text)


@pytest.mark.parametrize(
    ("unit", "strip", "text", "spans"),
    [
        ("e\u0301a", True, "ea", [(0, 2), (2, 3)]),  # a dropped mark is not cut off
        ("e\u0301a", False, "éa", [(0, 2), (2, 3)]),  # two become one
        ("aİ", False, "ai\u0307", [(0, 1), (1, 2), (1, 2)]),  # one becomes two
        ("각a", True, "\u1100\u1161\u11a8a", [(0, 1), (0, 1), (0, 1), (1, 2)]),
        ("\u1100\u1161\u11a8", True, "\u1100\u1161\u11a8", [(0, 1), (1, 2), (2, 3)]),
        ("\u1100\u1161\u11a8", False, "각", [(0, 3)]),
        ("xq\u0307\u0323y", False, "xq\u0323\u0307y", [(0, 1), (1, 4), (1, 4), (1, 4), (4, 5)]),
        ("xq\u0323\u0307", False, "xq\u0323\u0307", [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("\u0301e", True, "e", [(1, 2)]),  # nothing is before it
    ],
)
def test_what_composes_shares_its_place(
    unit: str, strip: bool, text: str, spans: list[tuple[int, int]]
) -> None:
    (word,) = split_words(unit, do_lower_case=True, strip_accents=strip)
    assert word.text == text
    assert list(zip(word.starts, word.ends, strict=True)) == spans


@IN_SESSION
@given(text=st.text(st.sampled_from("a\u0301\u0338>\u1100\u1161\u11a8가각é\u0f71\u0344=\u0323")))
def test_nothing_is_lost_where_characters_meet(text: str) -> None:
    for strip in (True, False):
        words = split_words(text, do_lower_case=True, strip_accents=strip)
        form = unicodedata.normalize("NFD" if strip else "NFC", text.lower())
        kept = [char for char in form if not (strip and unicodedata.category(char) == "Mn")]
        assert "".join(word.text for word in words) == "".join(kept)


def test_kept_characters() -> None:
    assert clean_text("a b\tc\n\u3000é漢😀") == ("a b\tc\n\u3000é漢😀", None)
    assert clean_text("\0a\u200bb\ufffd \x85c\ue000") == ("ab c", [1, 3, 5, 7])
