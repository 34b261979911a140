"""Ten thousand texts of all of Unicode: both tokenizers give the reference's ids, and no error."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from albert_edge.tokenizer import Tokenizer
from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig
from albert_edge.tokenizer.sentencepiece import SentencePieceTokenizer
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer
from tokenizer.reference import (
    BERT_SETTINGS,
    NASTY,
    SETTINGS,
    assert_sound,
    bert_ids,
    reference_ids,
    special_ids,
)

# Any characters, something nasty, characters of nasty things, and something nasty again.
TEXTS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8"), max_size=5),
        st.sampled_from(NASTY),
        st.text(st.sampled_from(sorted(set("".join(NASTY)))), max_size=5),
        st.sampled_from(NASTY),
    ).map("".join),
    min_size=10,
    max_size=10,
)

sentencepiece_tokenizer = cache(SentencePieceTokenizer)
wordpiece_tokenizer = cache(WordPieceTokenizer)


def names(tokenizer: Tokenizer) -> dict[str, int]:
    ids = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.unk_id)
    return {tokenizer.id_to_piece(n): n for n in (*ids, tokenizer.mask_id)}


def assert_like_the_reference(
    tokenizer: Tokenizer, text: str, cut: Callable[[str], list[int]]
) -> None:
    tokens = tokenizer.tokenize(text)
    assert tokens.ids == cut(text)
    assert len(tokens.offsets) == len(tokens.ids)
    assert_sound(tokens.offsets, text)
    asked = tokenizer.encode(text, allow_special=True)
    ids = special_ids(text, names(tokenizer), lower=tokenizer.do_lower_case, cut=cut)
    assert asked.input_ids[1:-1] == ids
    assert_sound(asked.offsets[1:-1], text)


@settings(max_examples=1000, deadline=None)  # of ten texts each
@given(texts=TEXTS, albert=SETTINGS, bert=BERT_SETTINGS)
@example(["ΟΔΟΣ 𝚺𝚨𝚺 İ ''' e\u0301\u0323 pad>\u0338"], SentencePieceConfig(), WordPieceConfig())
def test_ten_thousand_texts(
    model: bytes, vocab: bytes, texts: list[str], albert: SentencePieceConfig, bert: WordPieceConfig
) -> None:
    pieces, words = sentencepiece_tokenizer(model, albert), wordpiece_tokenizer(vocab, bert)
    for text in texts:
        assert_like_the_reference(pieces, text, lambda part: reference_ids(part, albert, model))
        assert_like_the_reference(words, text, lambda part: bert_ids(part, bert, read(vocab)))
        assert all(start < end for start, end in words.tokenize(text).offsets)


@cache
def read(vocab: bytes) -> dict[str, int]:
    return {piece: n for n, piece in enumerate(vocab.decode().splitlines())}
