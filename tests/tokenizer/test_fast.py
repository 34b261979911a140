"""A tokenizer.json becomes the SentencePiece model that it was made from, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from tokenizer.files import end_of_pieces, fast_file
from tokenizer.reference import ALBERT_GOLDEN, IN_SESSION, TEXT


@IN_SESSION
@given(text=TEXT)
def test_tokenizer_json_says_the_same(
    tokenizer: Tokenizer, converted: Tokenizer, text: str
) -> None:
    assert converted.tokenize(text) == tokenizer.tokenize(text)


@pytest.fixture(scope="session")
def converted(model: bytes) -> Tokenizer:
    return tokenizer_from_files({"tokenizer.json": fast_file(model)})


def test_tokenizer_json_gives_every_piece_back(model: bytes, converted: Tokenizer) -> None:
    pieces = model[: end_of_pieces(model)]
    assert converted.files()["spiece.model"].startswith(pieces)  # with their scores and kinds


def test_tokenizer_json_of_the_published_vocabulary(albert: Path) -> None:
    blob = albert.read_bytes()
    converted = tokenizer_from_files({"tokenizer.json": fast_file(blob)})
    for case in ALBERT_GOLDEN["texts"]:
        assert converted.tokenize(case["text"]).ids == case["default"], case["text"]


BERT = {"type": "BertNormalizer", "lowercase": True}

EXTRA = [{"id": 99_999, "content": "[NEW]", "special": True}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"type": "BPE", "vocab": {"a": 0}}}, "the model is BPE, expected Unigram or"),
        ({"model": {"type": "Unigram", "vocab": []}}, "not a valid tokenizer.json: KeyError"),
        ({"model": {"vocab": [["a", 0]], "unk_id": 7}}, r"unk_id 7 is not in \[0, 1\)"),
        ({"model": {"vocab": [], "byte_fallback": True}}, "byte_fallback is not supported"),
        ({"normalizer": BERT}, r"steps are \['BertNormalizer'\]; ALBERT's are"),
        ({"normalizer": None}, r"steps are \[\]; ALBERT's are"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, r"steps are \['ByteLevel'\]; ALBERT's is Meta"),
        ({"added_tokens": EXTRA}, r"added token '\[NEW\]' \(id 99999\) is not in the model's"),
        ({"added_tokens": 3}, "not a valid tokenizer.json: TypeError"),
    ],
)
def test_a_tokenizer_json_that_cannot_be_represented(
    model: bytes, changes: dict[str, Any], message: str
) -> None:
    if "model" in changes and "added_tokens" not in changes:
        changes = {**changes, "added_tokens": []}
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_files({"tokenizer.json": fast_file(model, **changes)})


def test_a_config_that_contradicts_tokenizer_json(model: bytes) -> None:
    files = {"tokenizer.json": fast_file(model), "tokenizer_config.json": b'{"keep_accents": true}'}
    with pytest.raises(TokenizerError, match="contradicts the normalizer of"):
        tokenizer_from_files(files)
