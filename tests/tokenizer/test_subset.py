"""The pieces that texts need, and tokenizers with no others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.tokenizer.subset import open_vocab
from tokenizer.conftest import SENTENCES
from tokenizer.reference import TEXT


@pytest.fixture(params=["tokenizer", "wordpiece"])
def either(request: pytest.FixtureRequest) -> Tokenizer:
    found: Tokenizer = request.getfixturevalue(request.param)
    return found


def test_all_pieces_are_the_whole_tokenizer(either: Tokenizer) -> None:
    vocab = open_vocab(either)
    assert len(vocab.scores) == either.vocab_size
    whole = vocab.subset(range(either.vocab_size))
    assert [whole.id_to_piece(n) for n in range(whole.vocab_size)] == [
        either.id_to_piece(n) for n in range(either.vocab_size)
    ]
    for text in SENTENCES[:8]:
        assert whole.encode(text) == either.encode(text)


def cut_alike(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    vocab = open_vocab(tokenizer)
    tokens = {token_id for text in texts for token_id in tokenizer.tokenize(text).ids}
    kept = sorted(vocab.required_ids.union(tokens, *map(vocab.used_ids, texts)))
    small = vocab.subset(kept)
    assert small.vocab_size == len(kept) <= tokenizer.vocab_size
    for text in texts:
        before, after = tokenizer.tokenize(text), small.tokenize(text)
        assert [kept[token_id] for token_id in after.ids] == before.ids
        assert after.offsets == before.offsets


@settings(max_examples=40)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_a_subset_of_unigrams_cuts_its_texts_as_before(
    tokenizer: Tokenizer, texts: list[str]
) -> None:
    cut_alike(tokenizer, texts)


@settings(max_examples=40)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_a_subset_of_wordpieces_cuts_its_texts_as_before(
    wordpiece: Tokenizer, texts: list[str]
) -> None:
    cut_alike(wordpiece, texts)


def test_special_tokens_and_characters_are_always_kept(either: Tokenizer) -> None:
    vocab = open_vocab(either)
    special = {either.cls_id, either.sep_id, either.pad_id, either.unk_id, either.mask_id}
    assert special <= vocab.required_ids
    small = vocab.subset(sorted(vocab.required_ids))
    for name in ("cls_id", "sep_id", "pad_id", "unk_id", "mask_id"):
        piece = small.id_to_piece(getattr(small, name))
        assert piece == either.id_to_piece(getattr(either, name))
    assert all(vocab.char_coverable(n) for n in vocab.required_ids - special)


def test_used_pieces_of_words_by_hand() -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##able", "##a", "u", "##n"]
    vocab = open_vocab(tokenizer_from_files({"vocab.txt": "\n".join(pieces).encode()}))
    assert [pieces[n] for n in vocab.used_ids("unable")] == ["un", "##able"]
    # The word is unknown; without its first pieces it might become known by others.
    assert [pieces[n] for n in vocab.used_ids("unax")] == ["un", "##a"]
    assert vocab.required_ids == {0, 1, 2, 3, 4, 7, 8, 9}
    assert [vocab.char_coverable(n) for n in (5, 6, 7)] == [True, False, True]
    assert vocab.scores[5:] == [1.0] * 5
