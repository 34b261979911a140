from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from albert_edge.errors import TrainingError
from albert_edge.files import embedded_model
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.train import train_vocabulary
from albert_edge.training.batching import (
    concat_mixup,
    encode_pairs,
    encode_texts,
    make_batches,
    sample_pairs,
    subword_regularization,
    token_dropout,
)
from albert_edge.training.options import FinetuneOptions

TEXTS = [
    f"{word} " * count + "end" for word in ("alpha", "beta", "gamma") for count in range(1, 20)
]


GOLDEN = [
    [2, 57, 183, 1438, 424, 1649, 371, 1866, 13633, 57, 1, 57, 4736, 3],
    [2, 7, 57, 992, 296, 234, 1649, 15818, 1025, 615, 335, 15825, 554, 57, 1, 57, 914, 615, 196, 3],
    [2, 57, 183, 1438, 424, 1649, 371, 1866, 13633, 57, 1, 57, 4736, 3],
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_vocabulary(TEXTS, size=40)


def test_every_example_is_in_one_batch_with_its_ids(tokenizer: Tokenizer) -> None:
    sequences = encode_texts(TEXTS, tokenizer, max_length=32)
    batches = make_batches(sequences, tokens=64, pad_id=0, random=np.random.default_rng(1))
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows.tolist()) == list(range(len(TEXTS)))
    for batch in batches:
        assert batch.input_ids.size <= 64
        for row, ids, mask in zip(batch.rows, batch.input_ids, batch.attention_mask, strict=True):
            assert ids[mask == 1].tolist() == sequences[row]
            assert not ids[mask == 0].any()


def test_order_is_kept_without_a_shuffle_and_repeats_with_one(tokenizer: Tokenizer) -> None:
    sequences = encode_texts(TEXTS, tokenizer, max_length=32)

    def orders(seed: int | None) -> list[list[int]]:
        random = None if seed is None else np.random.default_rng(seed)
        made = make_batches(sequences, tokens=64, pad_id=0, random=random)
        return [batch.rows.tolist() for batch in made]

    assert all(rows == sorted(rows) for rows in orders(None))
    assert orders(1) == orders(1) != orders(2)


def test_a_text_longer_than_a_batch_is_a_batch(tokenizer: Tokenizer) -> None:
    (batch,) = make_batches([list(range(5, 25))], tokens=8, pad_id=0)
    assert batch.input_ids.shape == (1, 24)


def test_sampling_changes_the_pieces_but_not_the_text(tokenizer: Tokenizer) -> None:
    best = encode_texts(TEXTS, tokenizer, max_length=128)
    drawn = subword_regularization(TEXTS, tokenizer, max_length=128, alpha=0.1, seed=1)
    assert drawn != best
    assert drawn == subword_regularization(TEXTS, tokenizer, max_length=128, alpha=0.1, seed=1)
    assert drawn != subword_regularization(TEXTS, tokenizer, max_length=128, alpha=0.1, seed=2)
    assert [tokenizer.decode(ids) for ids in drawn] == [tokenizer.decode(ids) for ids in best]
    cut = subword_regularization(TEXTS, tokenizer, max_length=5, alpha=0.1, seed=1)
    assert {len(ids) for ids in cut} <= {3, 4, 5}
    assert all(ids[0] == tokenizer.cls_id and ids[-1] == tokenizer.sep_id for ids in cut)


def test_sampling_depends_on_the_seed_alone() -> None:
    """Not on the process, as SentencePiece's own sampling does."""
    text, found = ["a wonderful unknowable Ω film"], []
    for seed in (1, 5, 1):
        (ids,) = subword_regularization(
            text, load_tokenizer(embedded_model()), max_length=128, alpha=0.1, seed=seed
        )
        found.append(ids)
    assert found == GOLDEN


def test_unless_asked_only_sentencepiece_is_sampled(tokenizer: Tokenizer) -> None:
    words = tokenizer_from_files(
        {"vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nalpha\nbeta\ngamma\nend\n"}
    )
    for made, sampled in ((tokenizer, True), (words, False)):
        drawn = sample_pairs(
            TEXTS, None, made, options=FinetuneOptions(), random=np.random.default_rng(1)
        )
        assert (drawn != encode_pairs(TEXTS, None, made, max_length=128)) is sampled
    with pytest.raises(TrainingError, match=r"needs a spiece\.model"):
        sample_pairs(
            TEXTS,
            None,
            words,
            options=FinetuneOptions(sampling=0.5),
            random=np.random.default_rng(1),
        )


def test_segmentations_are_as_frequent_as_they_are_likely() -> None:
    tokenizer = load_tokenizer(embedded_model())
    (likely,) = encode_texts(["a wonderful film"], tokenizer, max_length=None)
    drawn = subword_regularization(
        ["a wonderful film"] * 2000, tokenizer, max_length=None, alpha=0.5, seed=3
    )
    counts = Counter(map(tuple, drawn))
    sampler = SentencePieceProcessor(model_proto=tokenizer.files()["spiece.model"])
    for ids, count in counts.most_common(3):
        logarithm = sum(sampler.get_score(i) for i in ids) - sum(map(sampler.get_score, likely))
        expected = counts[tuple(likely)] * math.exp(0.5 * logarithm)
        assert abs(count - expected) < 5 * math.sqrt(expected) + 1
    assert counts.most_common(1)[0][0] == tuple(likely)


def test_hiding_spares_the_special_tokens(tokenizer: Tokenizer) -> None:
    random = np.random.default_rng(0)
    hidden = token_dropout([2, *range(5, 25), 3], tokenizer, share=0.999, random=random)
    assert hidden == [2, *[4] * 20, 3]
    assert token_dropout([2, 7, 3], tokenizer, share=0.0, random=random) == [2, 7, 3]


def test_joined_texts_keep_their_words_and_mix_their_targets() -> None:
    sequences = [[2, 10, 3], [2, 20, 21, 22, 3], [2, 30, 3], [2, *range(40, 49), 3]]
    targets = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    joined, mixed = concat_mixup(
        sequences, targets, share=0.999, max_length=9, random=np.random.default_rng(4)
    )
    words = sorted(word for ids in joined for word in ids[1:-1])
    assert words == sorted(word for ids in sequences for word in ids[1:-1])
    assert len(joined) < len(sequences)
    for ids, target in zip(joined, mixed, strict=True):
        assert (ids[0], ids[-1]) == (2, 3)
        assert 2 not in ids[1:-1]
        assert len(ids) <= 11  # nothing is joined beyond 9; the longest text alone has 11
        positive = sum(20 <= word < 30 or word >= 40 for word in ids[1:-1])
        np.testing.assert_allclose(target[1], positive / (len(ids) - 2), rtol=1e-6)


def test_nothing_is_joined_with_a_share_of_zero() -> None:
    sequences = [[2, word, 3] for word in range(10, 20)]
    targets = np.eye(2, dtype=np.float32)[[0, 1] * 5]
    joined, mixed = concat_mixup(
        sequences, targets, share=0.0, max_length=9, random=np.random.default_rng(4)
    )
    assert sorted(joined) == sequences
    assert mixed.sum(axis=0).tolist() == [5, 5]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_own_tokens_and_end(tokenizer: Tokenizer, side: str) -> None:
    first = tokenizer.vocab_size
    config = {"added_tokens_decoder": {str(first): {"content": "[E1]"}}, "truncation_side": side}
    files = {**tokenizer.files(), "tokenizer_config.json": json.dumps(config).encode()}
    marked = tokenizer_from_files(files)
    texts = ["[E1] alpha beta [E1]gamma", "", "alpha"]
    options = {"max_length": None, "alpha": 0.1, "seed": 1}
    drawn = subword_regularization(texts, marked, **options)
    assert [ids.count(first) for ids in drawn] == [2, 0, 0]
    assert drawn[0][1] == first
    short = subword_regularization(texts, marked, **{**options, "max_length": 5})
    assert all(len(ids) <= 5 for ids in short)
    assert short[0][1:-1] == (drawn[0][1:-1][-3:] if side == "left" else drawn[0][1:4])
    for pairs in (None, ["beta gamma", "gamma", "alpha [E1]"]):
        encoded = encode_pairs(texts, pairs, marked, max_length=7)
        for row, ids in enumerate(encoded.input_ids):
            pair = None if pairs is None else pairs[row]
            assert ids == marked.encode(texts[row], pair, max_length=7).input_ids
