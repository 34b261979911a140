"""Batches of texts of all lengths."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from albert_edge.training.distillation.texts import TextBatches
from albert_edge.training.pretraining.corpus import Document, encode_documents
from albert_edge.training.pretraining.masking import Cursor
from language import language
from training.distillation.samples import tokenizer

PIECES = tokenizer()


def _documents(count: int = 60) -> list[Document]:
    return encode_documents(language(count), PIECES)


def _batches(length: int = 16, documents: list[Document] | None = None) -> TextBatches:
    texts = _documents() if documents is None else documents
    return TextBatches(texts, PIECES, batch_size=4, max_length=length, seed=3)


def test_a_text_is_of_whole_sentences_of_one_document() -> None:
    joined = [" ".join(document) for document in language(60)]
    lengths, seen = set(), 0
    batches = _batches()
    for _, batch in islice(batches.after(Cursor()), batches.count()):
        rows, length = batch["input_ids"].shape
        assert rows == 4 * (16 // length)
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            count = int(mask.sum())
            assert mask[:count].all()
            assert (ids[0], ids[count - 1]) == (PIECES.cls_id, PIECES.sep_id)
            assert (ids[count:] == PIECES.pad_id).all()
            words = [PIECES.id_to_piece(one) for one in ids[1 : count - 1].tolist()]
            assert len(words) % 3 == 0  # a sentence has three words
            assert any(" ".join(words) in text for text in joined)
            lengths.add(count)
            seen += len(words)
    assert {5, 8, 14} <= lengths  # one to four sentences
    assert seen > 0.9 * sum(len(text.split()) for text in joined)  # but for what fills no batch


def test_words_are_hidden_in_half_of_the_texts() -> None:
    found = [batch for _, batch in islice(_batches().after(Cursor()), 200)]
    hidden = [batch["hidden_ids"] != batch["input_ids"] for batch in found]
    for batch, places in zip(found, hidden, strict=True):
        assert (batch["hidden_ids"][places] == PIECES.mask_id).all()
        assert not np.isin(batch["input_ids"][places], [PIECES.cls_id, PIECES.sep_id, 0]).any()
    words = np.concatenate([batch["attention_mask"].sum(axis=1) - 2 for batch in found])
    counts = np.concatenate([places.sum(axis=1) for places in hidden])
    # 7.5% of about 10,000 words, and 2.5 standard deviations of the share of texts.
    assert counts.sum() / words.sum() == pytest.approx(0.075, abs=0.01)
    assert set(counts[words > 3].tolist()) > {0, 1, 2}


def test_a_place_gives_the_same_batch_and_an_epoch_another_cut() -> None:
    batches = _batches()
    count = batches.count()
    through = list(islice(batches.after(Cursor()), count + 3))
    for (cursor, batch), (other, again) in zip(
        islice(_batches().after(Cursor(0, count - 1)), 4), through[count - 1 :], strict=True
    ):
        assert cursor == other
        for name, values in batch.items():
            np.testing.assert_array_equal(values, again[name])
    spans = [np.concatenate([part.spans for part in batches._plan(epoch)]) for epoch in (0, 1)]
    assert {tuple(span) for span in spans[0].tolist()} != {tuple(s) for s in spans[1].tolist()}


def test_a_long_sentence_is_cut_and_few_texts_are_padded_together() -> None:
    long = [np.full(100, 7, np.int32)]
    batches = TextBatches([long], PIECES, batch_size=2, max_length=12, seed=0)
    (_, batch) = next(batches.after(Cursor()))
    assert batch["attention_mask"].sum(axis=1).max() <= 12
    few = TextBatches(_documents(2), PIECES, batch_size=2, max_length=16, seed=0)
    texts = [tuple(span) for part in few._plan(0) for span in part.spans.tolist()]
    assert len(texts) >= len(few._cut(np.random.default_rng([0, 0]))) - 1
    assert _batches(documents=_documents(1), length=32).count() == 0
