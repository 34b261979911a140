"""What is hidden: 15% of the tokens, in whole words, and never a special one."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.tokenizer.train import train_vocabulary
from albert_edge.training.pretraining.masking import (
    Cursor,
    Masking,
    PretrainBatches,
    as_dataset,
    mask_words,
)
from language import documents, words

MASK, VOCABULARY = 4, 1000
# Pieces whose id is even begin a word.
MASKING = Masking(MASK, VOCABULARY, np.arange(VOCABULARY) % 2 == 0)


def _sequence(words: list[int], *, parted: int) -> tuple[np.ndarray, np.ndarray]:
    """Make ids of words of so many pieces, with special tokens as a pair of segments has them."""
    pieces = [[10, *[11] * (count - 1)] for count in words]
    ids = np.array([2, *chain(*pieces[:parted]), 3, *chain(*pieces[parted:]), 3], np.int32)
    return ids, np.isin(ids, [2, 3])


_WORDS = st.lists(st.integers(1, 4), min_size=2, max_size=60)


@given(_WORDS, st.integers(0, 2**32))
def test_whole_words_and_no_special_token_are_hidden(words: list[int], seed: int) -> None:
    ids, special = _sequence(words, parted=len(words) // 2)
    hidden, places = mask_words(ids, special, MASKING, np.random.default_rng(seed))
    assert not special[places].any()
    assert (hidden == ids)[np.setdiff1d(np.arange(len(ids)), places)].all()
    assert (np.diff(places) > 0).all()
    assert len(places) <= max(1, round(0.15 * sum(words))) <= np.ceil(0.15 * len(ids))
    word = np.cumsum((ids == 10) | special)  # the number of every place's word
    assert np.isin(np.flatnonzero(np.isin(word, word[places])), places).all()


def _drawn(words: list[int], count: int) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    ids, special = _sequence(words, parted=len(words) // 2)
    random = np.random.default_rng(0)
    return ids, [mask_words(ids, special, MASKING, random) for _ in range(count)]


def test_fifteen_percent_are_hidden_four_fifths_of_them_by_the_mask() -> None:
    words = [1, 2, 1, 3] * 15  # 105 tokens
    ids, drawn = _drawn(words, 1000)
    hidden = np.stack([one[places] for one, places in drawn if len(places) == 16])
    assert len(hidden) > 950  # a last word may not fit
    shown = np.stack([ids[places] for one, places in drawn if len(places) == 16])
    # 16 000 tokens in some 7 000 groups, which share their fate: a standard error below 0.01.
    assert abs(np.mean(hidden == MASK) - 0.8) < 0.03
    assert abs(np.mean(hidden == shown) - 0.1) < 0.03
    others = hidden[(hidden != MASK) & (hidden != shown)]
    assert abs(len(others) / hidden.size - 0.1) < 0.03
    assert others.min() >= 5  # no special token
    assert 400 < others.mean() < 600
    assert others.max() < VOCABULARY


def test_every_place_is_hidden_as_often() -> None:
    ids, drawn = _drawn([1] * 100, 2000)
    times = np.bincount(np.concatenate([places for _, places in drawn]), minlength=len(ids))
    inner = np.delete(times, [0, 51, 102])
    # Seven standard deviations of 2000 draws of 15%; a group reaches over the end less often.
    assert abs(inner[2:-2] - 300).max() < 7 * (2000 * 0.15 * 0.85) ** 0.5


def test_groups_of_one_to_three_words() -> None:
    # Few are hidden among many, so that groups seldom touch: 15 of 400 tokens are words that fit.
    _, drawn = _drawn([1] * 100, 3000)
    runs: Counter[int] = Counter()
    for _, places in drawn:
        ends = np.flatnonzero(np.diff(places) > 1)
        runs.update(np.diff([-1, *ends, len(places) - 1]).tolist())
    # In proportion to 1, 1/2, 1/3, but for groups that touch and such as the budget cuts.
    assert 0.3 < runs[2] / runs[1] < 0.8
    assert 0.2 < runs[3] / runs[1] < 0.6
    assert sum(runs[size] for size in runs if size > 3) < 0.25 * sum(runs.values())


def test_one_token_at_least_is_hidden() -> None:
    ids, special = _sequence([1, 1], parted=1)
    _, places = mask_words(ids, special, MASKING, np.random.default_rng(0))
    assert len(places) == 1
    ids, special = _sequence([2, 2], parted=1)  # no word is short enough
    hidden, places = mask_words(ids, special, MASKING, np.random.default_rng(0))
    assert len(places) == 0
    assert (hidden == ids).all()


def test_what_begins_a_word_in_a_sentencepiece_vocabulary() -> None:
    texts = ["the lake and the moor 湖と森の道", "a road## 道と湖 #road####"] * 20
    tokenizer = train_vocabulary(texts, size=60)
    pieces = [tokenizer.id_to_piece(one) for one in range(tokenizer.vocab_size)]
    assert any(piece.startswith("##") for piece in pieces)  # which does not make it a WordPiece one
    masking = Masking.of(tokenizer)
    starts = dict(zip(pieces, masking.starts.tolist(), strict=True))
    assert masking.mask_id == tokenizer.mask_id
    assert all(starts[piece] for piece in starts if piece[0] == "▁" or piece[0] in "湖と森の道")
    inner = [piece for piece in starts if piece.isascii() and piece[0].isalpha()]
    assert inner
    assert not any(starts[piece] for piece in inner)


@pytest.mark.parametrize("script", ["湖と森の道", "ทะเลสาบ"])
def test_text_without_spaces_is_hidden_piece_by_piece(script: str) -> None:
    tokenizer = train_vocabulary([script * 3] * 5, size=30)
    ids = np.array(tokenizer.encode(script * 3).input_ids, np.int32)
    special = np.isin(ids, [tokenizer.cls_id, tokenizer.sep_id])
    _, places = mask_words(ids, special, Masking.of(tokenizer), np.random.default_rng(0))
    assert len(places) == max(1, round(0.15 * (len(ids) - 2)))


def test_what_begins_a_word_in_a_wordpiece_vocabulary() -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "lake", "湖", "##s"]
    for count, expected in ((8, [True, True, False]), (7, [True, True])):
        files = {"vocab.txt": "\n".join(pieces[:count]).encode()}
        assert Masking.of(tokenizer_from_files(files)).starts[5:].tolist() == expected


LENGTH, SIZE = 24, 8


def _batches(*, seed: int = 0, length: int = LENGTH, count: int = 20) -> PretrainBatches:
    return PretrainBatches(documents(count), words(), batch_size=SIZE, max_length=length, seed=seed)


def _batches_of(
    batches: PretrainBatches, position: Cursor, count: int
) -> list[tuple[Cursor, bytes]]:
    found = islice(batches.after(position), count)
    return [(at, b"".join(one[name].tobytes() for name in sorted(one))) for at, one in found]


def test_a_batch_is_known_by_its_position_and_the_seed() -> None:
    batches = _batches()
    count = batches.count()
    assert 1 < count < 10
    whole = _batches_of(batches, Cursor(), 3 * count)
    assert len({content for _, content in whole}) == len(whole)  # also between passes
    assert {at.epoch for at, _ in whole} >= {0, 1, 2}
    for index, (position, _) in enumerate(whole[:-1]):  # also from the end of a pass
        assert _batches_of(_batches(), position, 1) == whole[index + 1 : index + 2]
    assert _batches_of(_batches(seed=1), Cursor(), 1) != whole[:1]


def test_the_background_gives_the_same() -> None:
    batches = _batches()
    _, like = next(batches.after(Cursor()))
    for (place, batch), (position, expected) in zip(
        as_dataset(batches.after(Cursor()), like).take(6), batches.after(Cursor()), strict=False
    ):
        assert place.numpy().tolist() == [position.epoch, position.index]
        assert sorted(batch) == sorted(expected)
        for name, array in expected.items():
            assert batch[name].dtype == array.dtype
            np.testing.assert_array_equal(batch[name].numpy(), array)


@pytest.mark.parametrize("length", [10, LENGTH, 32])
def test_rows_are_a_pair_of_segments_with_words_hidden(length: int) -> None:
    tokenizer = words()
    known = {tuple(np.concatenate(document)) for document in documents(20)}
    for _, batch in islice(_batches(length=length).after(Cursor()), 10):
        assert {name: array.shape[0] for name, array in batch.items()} == dict.fromkeys(batch, SIZE)
        assert batch["input_ids"].shape == (SIZE, length)
        assert batch["places"].shape == (SIZE, np.ceil(0.15 * length))
        for row in range(SIZE):
            ids, types, mask, places, targets, weights = (
                batch[name][row]
                for name in (
                    *("input_ids", "token_type_ids", "attention_mask"),
                    *("places", "targets", "weights"),
                )
            )
            size, hidden = int(mask.sum()), int(weights.sum())
            assert mask[:size].all()
            assert (ids[size:] == tokenizer.pad_id).all()
            assert weights[:hidden].all()
            assert hidden == max(1, round(0.15 * (size - 3)))  # every word is one piece
            assert not places[hidden:].any()
            assert not targets[hidden:].any()
            restored = ids.copy()
            restored[places[:hidden]] = targets[:hidden]
            first = int(np.argmax(types)) - 1  # where the [SEP] between the segments is
            assert restored[[0, first, size - 1]].tolist() == [
                *(tokenizer.cls_id, tokenizer.sep_id, tokenizer.sep_id)
            ]
            assert types.tolist() == [0] * (first + 1) + [1] * (size - first - 1) + [0] * (
                length - size
            )
            segments = restored[1:first], restored[first + 1 : size - 1]
            text = np.concatenate(segments[::-1] if batch["order"][row] else segments)
            assert any(_inside(tuple(text), document) for document in known)


def _inside(part: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole)))


def test_count() -> None:
    assert _batches(count=2).count() == 0
