"""Words from tokens: in order, within the text, every token in exactly one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.pipelines.words import align_words, bio_to_entities, parse_bio_tag
from albert_edge.tokenizer import tokenizer_from_files


def spans_of(text: str, pieces: list[str]) -> list[tuple[int, int]]:
    spans, at = [], 0
    for piece in pieces:
        start = text.index(piece, at)
        at = start + len(piece)
        spans.append((start, at))
    return spans


@pytest.mark.parametrize(
    ("text", "pieces", "words"),
    [
        ("Ada met Charles.", ["Ad", "a", "met", "Charles", "."], ["Ada", "met", "Charles", "."]),
        ("O'Hara's", ["O", "'", "Hara", "'", "s"], ["O'Hara's"]),
        ("'so' it-goes", ["'", "so", "'", "it", "-", "goes"], ["'", "so", "'", "it-goes"]),
        ("9,50 3.5.", ["9", ",", "50", "3", ".", "5", "."], ["9,50", "3.5", "."]),
        ("1, 2", ["1", ",", "2"], ["1", ",", "2"]),
        ("cafe\u0301s", ["caf", "e\u0301", "s"], ["cafe\u0301s"]),
        # As transformers' aggregation `simple`: where no spaces are written, a token is a word.
        ("東京はきれい", ["東", "京", "は", "きれい"], ["東", "京", "は", "きれい"]),
        ("ガソリンスタンド", ["ガソリン", "スタンド"], ["ガソリン", "スタンド"]),
        ("ｶﾞｿﾘﾝだ", ["ｶﾞ", "ｿﾘﾝ", "だ"], ["ｶﾞ", "ｿﾘﾝ", "だ"]),
        ("ฉันรักกรุงเทพ", ["ฉัน", "รัก", "กรุงเทพ"], ["ฉัน", "รัก", "กรุงเทพ"]),
        ("ຂ້ອຍຮັກລາວ", ["ຂ້ອຍ", "ຮັກ", "ລາວ"], ["ຂ້ອຍ", "ຮັກ", "ລາວ"]),
        ("ខ្ញុំស្រលាញ់", ["ខ្ញុំ", "ស្រលាញ់"], ["ខ្ញុំ", "ស្រលាញ់"]),
        ("မြန်မာစာ", ["မြန်မာ", "စာ"], ["မြန်မာ", "စာ"]),
        ("บ้านABC日本", ["บ้าน", "A", "BC", "日", "本"], ["บ้าน", "ABC", "日", "本"]),
        ("학교에서", ["학교", "에서"], ["학교에서"]),
        ("привет", ["при", "вет"], ["привет"]),
        ("北京 是ok", ["北", "京", "是", "ok"], ["北", "京", "是", "ok"]),
        ("a\u00a0b\u200bc", ["a", "b", "c"], ["a", "b", "c"]),
        ("so!?", ["so", "!?"], ["so", "!?"]),
    ],
)
def test_words(text: str, pieces: list[str], words: list[str]) -> None:
    found = align_words(text, spans_of(text, pieces))
    assert [text[word.start : word.end] for word in found] == words


def test_a_zero_width_token_belongs_to_the_next_word() -> None:
    assert align_words("a bc", [(0, 0), (0, 1), (2, 2), (2, 4), (4, 4)]) == [
        (0, 1, [0, 1]),
        (2, 4, [2, 3]),
    ]


def test_tokens_of_one_character_are_one_word() -> None:
    assert align_words("½ x", [(0, 1), (0, 1), (0, 1), (2, 3)]) == [(0, 1, [0, 1, 2]), (2, 3, [3])]


def check(text: str, spans: list[tuple[int, int]]) -> None:
    words = align_words(text, spans)
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert all(0 <= word.start < word.end <= len(text) for word in words)
    tokens = [token for word in words for token in word.tokens]
    assert tokens == sorted(set(tokens))
    seen = [index for index, (start, end) in enumerate(spans) if start < end]
    assert set(seen) <= set(tokens)
    for word in words:  # a word covers its tokens exactly
        shown = [spans[token] for token in word.tokens if token in seen]
        assert (word.start, word.end) == (shown[0][0], max(end for _, end in shown))


@given(data=st.data())
def test_any_spans(data: st.DataObject) -> None:
    text = data.draw(st.text("ab '-.,9\u0301\u200b北🙂", max_size=20))
    edges = st.integers(0, len(text))
    count = data.draw(st.integers(0, 8))
    starts = sorted(data.draw(st.lists(edges, min_size=count, max_size=count)))
    ends = sorted(data.draw(st.lists(edges, min_size=count, max_size=count)))
    check(text, [(start, max(start, end)) for start, end in zip(starts, ends, strict=True)])


@given(text=st.text(max_size=40) | st.text("the river bank’s -.,½ﬁé北\u0301", max_size=40))
def test_any_text(tokenizer_files: Mapping[str, bytes], text: str) -> None:
    check(text, tokenizer_from_files(tokenizer_files).tokenize(text).offsets)


@pytest.mark.parametrize(
    ("labels", "entities"),
    [
        ("O O", []),
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("I-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),
        ("S-PER B-LOC I-LOC E-LOC", [("PER", 0, 1), ("LOC", 1, 4)]),
        ("U-PER B-LOC L-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),
        ("S-PER E-PER I-PER", [("PER", 0, 1), ("PER", 1, 2), ("PER", 2, 3)]),
        ("NOUN NOUN VERB", [("NOUN", 0, 2), ("VERB", 2, 3)]),
        ("I-PER O I-PER", [("PER", 0, 1), ("PER", 2, 3)]),
    ],
)
def test_entities(labels: str, entities: list[tuple[str, int, int]]) -> None:
    assert bio_to_entities(labels.split()) == entities


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B", "x-y", ""]), max_size=12))
def test_every_labelled_word_is_in_one_entity(labels: list[str]) -> None:
    inside = [i for _, first, stop in bio_to_entities(labels) for i in range(first, stop)]
    assert inside == [i for i, label in enumerate(labels) if parse_bio_tag(label)[1] is not None]
