"""Calibration texts become rows of ids, or a clear error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from albert_edge.config import AlbertConfig
from albert_edge.errors import InputError
from albert_edge.modeling import load_keras
from albert_edge.quantization.calibration import (
    BUILT_IN,
    calibration_rows,
    collect_stats,
    describe_texts,
)
from albert_edge.tflite.export import export_stages

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


def test_texts_in_another_script_are_refused(default):
    texts = ["привет мир, как дела сегодня"] * 9
    with pytest.raises(InputError, match=r"\d\d% of the calibration texts' tokens are unknown"):
        calibration_rows(texts, default.config, default.tokenizer_files)
    mixed = ["the film was dull, привет", "a fine film"]
    described = describe_texts(mixed, default.tokenizer_files)
    assert described["texts"] == 2
    assert 0 < described["unknown_share"] < 0.5
    assert calibration_rows(mixed, default.config, default.tokenizer_files)


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


ROWS = [
    {"input_ids": [2, 17, 33, 5, 59, 8, 3], "token_type_ids": [0, 0, 0, 1, 1, 1, 1]},
    {"input_ids": [2, 41, 3], "token_type_ids": [0, 0, 0]},
]


@pytest.fixture(scope="module")
def seen(tiny_albert):
    model = tiny_albert("feature-extraction")
    return (
        model,
        export_stages(model),
        collect_stats(export_stages(model), model.config, ROWS, hessians=True),
    )


def test_ranges_are_those_of_the_values(seen):
    model, stages, stats = seen
    states = [
        model({name: np.array([ids]) for name, ids in row.items()})["last_hidden_state"][0]
        for row in ROWS
    ]
    found = stats["head"][stages.head.inputs["hidden_states"]]
    every = np.concatenate(states)  # [tokens, H]
    np.testing.assert_allclose(found.low[0], every.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.high[0], every.max(axis=0), atol=1e-5)


def test_every_pass_is_seen_and_hessians_are_of_all(seen):
    _, stages, stats = seen
    found = stats["layer_0"][stages.layers[0].inputs["hidden_states"]]
    assert found.low.shape == found.high.shape == (3, 32)  # passes, H
    assert found.hessian.shape == (32, 32)
    # Its trace is the sum of squares of 3 passes over 10 tokens, so bounded by the ranges.
    assert 0 < np.trace(found.hessian) < 30 * 32 * np.maximum(found.high, -found.low).max() ** 2


def test_padding_is_not_seen(seen, tiny_albert):
    model, stages, free = seen
    fixed_stages = export_stages(model, seq_len=12)
    fixed = collect_stats(fixed_stages, model.config, ROWS, seq_len=12)
    pairs = [(stages.layers[0], fixed_stages.layers[0]), (stages.head, fixed_stages.head)]
    for one, other in pairs:
        a = free[one.name][one.inputs["hidden_states"]]
        b = fixed[other.name][other.inputs["hidden_states"]]
        np.testing.assert_allclose(a.low, b.low, atol=1e-5)
        np.testing.assert_allclose(a.high, b.high, atol=1e-5)
