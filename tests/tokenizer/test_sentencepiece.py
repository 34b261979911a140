"""Ids are the original ALBERT's, and offsets point into the original text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.errors import InputError, TokenizerError
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.config import SentencePieceConfig
from albert_edge.tokenizer.sentencepiece import SentencePieceTokenizer, preprocess
from tokenizer.conftest import SENTENCES
from tokenizer.files import end_of_pieces
from tokenizer.reference import (
    ALBERT_GOLDEN,
    IN_SESSION,
    SETTINGS,
    TEXT,
    assert_sound,
    reference_ids,
    reference_text,
)


@pytest.mark.parametrize("kind", ALBERT_GOLDEN["settings"])
def test_golden_ids(albert: Path, kind: str) -> None:
    options = SentencePieceConfig(**ALBERT_GOLDEN["settings"][kind])
    tokenizer = SentencePieceTokenizer(albert.read_bytes(), options)
    for case in ALBERT_GOLDEN["texts"]:
        tokens = tokenizer.tokenize(case["text"])
        assert tokens.ids == case[kind], case["text"]
        assert_sound(tokens.offsets, case["text"])


def test_published_ids(albert: Path, data_folder: Path) -> None:
    path = data_folder / "golden" / "albert_base_v2_golden.json"
    golden = json.loads(path.read_text("utf-8"))["tokenizer"]
    tokenizer = load_tokenizer(albert)
    for text, ids in zip(golden["sentences"], golden["input_ids"], strict=True):
        encoding = tokenizer.encode(text)
        assert encoding.input_ids == [n for n in ids if n != tokenizer.pad_id]
        assert_sound(encoding.offsets[1:-1], text)
    for case in golden["simple"]:
        options = SentencePieceConfig(keep_accents=case.get("keep_accents", False))
        tokenizer = SentencePieceTokenizer(albert.read_bytes(), options)
        assert tokenizer.tokenize(case["text"]).ids == case["ids"]


def test_the_number_rule_is_at_work(model: bytes, tokenizer: Tokenizer) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    text = "in 1998, or 9, or 74, or 1298,"
    learned = processor.encode(text, out_type=str)
    assert {"▁1998,", "▁9,", "74,", "98,"} <= set(learned)
    tokens = tokenizer.tokenize(text)
    assert len(tokens.ids) > len(learned)
    comma = processor.piece_to_id(",")
    places = [span for n, span in zip(tokens.ids, tokens.offsets, strict=True) if n == comma]
    assert places == [(7, 8), (13, 14), (20, 21), (29, 30)]
    assert tokens.ids == reference_ids(text, SentencePieceConfig(), model)


def test_special_tokens_in_text_are_text(tokenizer: Tokenizer) -> None:
    special = {tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.mask_id}
    assert special == {0, 2, 3, 4}
    for options in (SentencePieceConfig(), SentencePieceConfig(do_lower_case=False)):
        cased = SentencePieceTokenizer(tokenizer.files()["spiece.model"], options)
        assert not special & set(cased.tokenize("[CLS] a [SEP]<pad> [MASK]b <unk>").ids)


def test_special_pieces_that_would_match_text_are_text(model: bytes) -> None:
    # [MASK] (field 3, type: control = 3) made a symbol that SentencePiece finds in text (4).
    symbol = model.replace(b"[MASK]\x15\0\0\0\0\x18\x03", b"[MASK]\x15\0\0\0\0\x18\x04")
    assert symbol != model
    processor = sentencepiece.SentencePieceProcessor(model_proto=symbol)
    assert 4 in processor.encode("a [MASK]")
    tokenizer = SentencePieceTokenizer(symbol, SentencePieceConfig(do_lower_case=False))
    assert tokenizer.mask_id == 4
    assert 4 not in tokenizer.tokenize("a [MASK]").ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  The\n\nkettle\t sang ", ["The", "kettle", "sang"]),
        (" \t the ferry ", ["the", "ferry"]),
        ("The CAFÉ sells", ["The", "CAFÉ", "sells"]),
        ("a cafe\u0301 sells", ["a", "cafe\u0301", "sells"]),  # a dropped mark is not cut off
        ("``Answer'' the", ["``Answer''", "the"]),
        ("🙂 the 🙂🙂 kettle", ["🙂", "the", "🙂🙂", "kettle"]),
        ("한국 사람", ["한국", "사람"]),
        ("Ｔｈｅ　ｆｅｒｒｙ", ["Ｔｈｅ", "ｆｅｒｒｙ"]),
        ("the\u200bferry\x07 \x01 landed\x07", ["the", "ferry", "landed"]),
        ("in 1998, it", ["in", "1998,", "it"]),
        ("ΣΟΦΟΣ λογος", ["ΣΟΦΟΣ", "λογος"]),
    ],
)
def test_spans_cut_words_from_the_original(
    tokenizer: Tokenizer, text: str, words: list[str]
) -> None:
    tokens = tokenizer.tokenize(text)
    found: list[str] = []
    for token_id, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
        if tokenizer.id_to_piece(token_id).startswith("▁"):
            found.append("")
        found[-1] += text[start:end]
    assert found == words


def test_spans_of_pieces_are_their_text(tokenizer: Tokenizer) -> None:
    """In plain text every span is its piece, but for case and the mark."""
    for text in SENTENCES[:4]:
        tokens = tokenizer.tokenize(text)
        for token_id, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
            piece = tokenizer.id_to_piece(token_id)
            assert text[start:end].lower() == piece.lstrip("▁")


def test_a_mark_alone_has_an_empty_span(albert: Path) -> None:
    tokens = load_tokenizer(albert).tokenize("x  😀")
    assert tokens.ids[1:] == [13, 1]  # ▁, <unk>
    assert tokens.offsets == [(0, 1), (3, 3), (3, 4)]


def test_what_a_character_is_spelled_as_shares_its_span(albert: Path) -> None:
    tokens = load_tokenizer(albert).tokenize("a ﷺ\u0301 b")
    assert tokens.offsets[0] == (0, 1)
    assert tokens.offsets[-1] == (5, 6)
    assert {start for start, _ in tokens.offsets[1:-1]} == {2}


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\ud83dz", "character 1 is half of a surrogate pair"), (b"a", "must be a str, not bytes")],
)
def test_what_is_no_text(tokenizer: Tokenizer, text: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.encode(text)


@pytest.mark.parametrize("unit", ["a", "kettle ", "\u200b", "e\u0301", "😀", "''", "9,"])
def test_a_very_long_line(tokenizer: Tokenizer, unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert_sound(tokenizer.tokenize(text).offsets, text)


def test_ids_back_to_text(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("The kettle sang, ", "and  Nobody minded.")
    assert tokenizer.decode(encoding.input_ids) == "the kettle sang, and nobody minded."
    assert tokenizer.id_to_piece(tokenizer.cls_id) == "[CLS]"
    for token_id in (-1, tokenizer.vocab_size):
        with pytest.raises(InputError, match=rf"token id {token_id} is not in \[0, "):
            tokenizer.id_to_piece(token_id)


@settings(max_examples=200, deadline=None)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_model_cut_short_anywhere(model: bytes, part: float) -> None:
    with pytest.raises(TokenizerError, match=r"damaged|cut short|no piece"):
        tokenizer_from_files({"spiece.model": model[: int(part * len(model))]})


def test_a_model_cut_between_two_pieces(model: bytes) -> None:
    at = end_of_pieces(model, 20)
    with pytest.raises(TokenizerError, match="cut short: it ends before the settings of trainer"):
        tokenizer_from_files({"spiece.model": model[:at]})


@IN_SESSION
@given(text=TEXT | TEXT.filter(str.isascii), options=SETTINGS)
def test_text_is_prepared_as_the_reference_does(text: str, options: SentencePieceConfig) -> None:
    aligned = preprocess(text, options)
    assert aligned.text == reference_text(text, options)
    assert len(aligned.starts) == len(aligned.ends) == len(aligned.text)
    assert_sound(list(zip(aligned.starts, aligned.ends, strict=True)), text)
    assert all(start < end for start, end in zip(aligned.starts, aligned.ends, strict=True))


def test_every_character_is_prepared_as_the_reference_does() -> None:
    # Beyond the second plane are only ideographs, tags and nothing.
    chars = [chr(n) for n in range(0x20000) if not 0xD800 <= n < 0xE000]
    for at in range(0, len(chars), 4096):
        text = "x".join(chars[at : at + 4096])
        assert preprocess(text, SentencePieceConfig()).text == reference_text(
            text, SentencePieceConfig()
        )
