"""Calibration texts become rows of ids, or a clear error."""

from __future__ import annotations

import itertools

import pytest

from albert_edge.config import AlbertConfig
from albert_edge.errors import InputError
from albert_edge.modeling import load_keras
from albert_edge.quantization.calibration import BUILT_IN, calibration_rows

CONFIG = AlbertConfig(vocab_size=60, max_position_embeddings=40)


@pytest.fixture(scope="module")
def default():
    return load_keras("default")


def test_texts_are_tokenized_and_cut(default):
    texts = ["a fine film " * 30] * 2
    rows = calibration_rows(texts, default.config, default.tokenizer_files, seq_len=9)
    assert [len(row["input_ids"]) for row in rows] == [9, 9]
    assert rows[0].keys() == {"input_ids", "token_type_ids"}


def test_without_texts_there_are_built_in_ones(default):
    assert len(calibration_rows(None, default.config, default.tokenizer_files)) == len(BUILT_IN)


def test_only_the_first_texts_are_read(default):
    endless = itertools.repeat("one text like many others")
    assert len(calibration_rows(endless, default.config, default.tokenizer_files)) == 128


@pytest.mark.parametrize("texts", [[], ["", " "], ["No!"]])
def test_too_few_tokens_are_refused(default, texts):
    with pytest.raises(InputError, match=r"hold \d tokens; at least 8 .*dozens of texts"):
        calibration_rows(texts, default.config, default.tokenizer_files)


def test_a_model_without_a_tokenizer_takes_ids():
    rows = calibration_rows(["2 17 33 5", "", "8 9 10 11 3"], CONFIG, {})
    assert [row["input_ids"] for row in rows] == [[2, 17, 33, 5], [8, 9, 10, 11, 3]]
    assert all(max(row["input_ids"]) < 60 for row in calibration_rows(None, CONFIG, {}))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a film"], "the model has no tokenizer, so calibration expects ids, not text"),
        (["1 2 60"], r"id 60 in the calibration data is not in \[0, 60\)"),
        (["0 0 0 0 0 0 0 0 0 0"], "fewer than 8 ids that are not padding"),
        ([], "fewer than 8 ids"),
    ],
)
def test_ids_that_are_none_are_refused(texts, message):
    with pytest.raises(InputError, match=message):
        calibration_rows(texts, CONFIG, {})
