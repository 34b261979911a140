"""Batches: known by seed and position alone, and right in every row."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from albert_edge.training.pretraining.masking import Cursor, PretrainBatches, as_dataset
from language import documents, words

LENGTH, SIZE = 24, 8


def _batches(*, seed: int = 0, length: int = LENGTH, count: int = 20) -> PretrainBatches:
    return PretrainBatches(documents(count), words(), batch_size=SIZE, max_length=length, seed=seed)


def _drawn(batches: PretrainBatches, position: Cursor, count: int) -> list[tuple[Cursor, bytes]]:
    found = islice(batches.after(position), count)
    return [(at, b"".join(one[name].tobytes() for name in sorted(one))) for at, one in found]


def test_a_batch_is_known_by_its_position_and_the_seed() -> None:
    batches = _batches()
    count = batches.count()
    assert 1 < count < 10
    whole = _drawn(batches, Cursor(), 3 * count)
    assert len({content for _, content in whole}) == len(whole)  # also between passes
    assert {at.epoch for at, _ in whole} >= {0, 1, 2}
    for index, (position, _) in enumerate(whole[:-1]):  # also from the end of a pass
        assert _drawn(_batches(), position, 1) == whole[index + 1 : index + 2]
    assert _drawn(_batches(seed=1), Cursor(), 1) != whole[:1]


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


def test_count_and_tokens() -> None:
    assert _batches(count=2).count() == 0
    assert _batches(count=2).tokens() == 2 * 6 * 3
