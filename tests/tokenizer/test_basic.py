"""Words are cut as the original BERT does, and every character's place is kept."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.tokenizer.config import WordPieceConfig
from albert_edge.tokenizer.wordpiece import Word, clean_text, split_units, split_words
from tokenizer.reference import BERT_SETTINGS, IN_SESSION, TEXT, assert_sound, bert_words


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
