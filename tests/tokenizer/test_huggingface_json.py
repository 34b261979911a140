"""A tokenizer.json becomes the SentencePiece model that it was made from, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from tokenizer.files import end_of_pieces, fast_file, fast_wordpiece_file
from tokenizer.reference import ALBERT_GOLDEN, BERT_GOLDEN, IN_SESSION, TEXT


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


@pytest.mark.parametrize("kind", BERT_GOLDEN["settings"])
def test_it_says_the_same(vocab: bytes, kind: str) -> None:
    settings = BERT_GOLDEN["settings"][kind]
    names = {"do_lower_case": "lowercase", "tokenize_chinese_chars": "handle_chinese_chars"}
    blob = fast_wordpiece_file(vocab, **{names.get(key, key): settings[key] for key in settings})
    tokenizer = tokenizer_from_files({"tokenizer.json": blob})
    assert tokenizer.files()["vocab.txt"] == vocab
    for case in BERT_GOLDEN["texts"]:
        assert tokenizer.tokenize(case["text"]).ids == case[kind], case["text"]


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("normalizer", {"type": "NFC"}, "normalizer's type is 'NFC'; BERT's is 'BertNormalizer'"),
        ("normalizer", {"clean_text": False}, "normalizer's clean_text is False; BERT's is True"),
        (
            "normalizer",
            {"lowercase": 1},
            "not a valid tokenizer.json: TypeError.*true or false, got 1",
        ),
        ("pre_tokenizer", {"type": "Whitespace"}, "pre-tokenizer's type is 'Whitespace'"),
        ("model", {"continuing_subword_prefix": ""}, "continuing_subword_prefix is ''; BERT's is"),
        ("model", {"max_input_chars_per_word": 9}, "max_input_chars_per_word is 9; BERT's is 100"),
        ("model", {"vocab": {"[PAD]": 0, "a": 2}}, "the ids of the 2 pieces are not 0 to 1"),
        ("model", {"vocab": {"a": "b"}}, "the ids of the 1 pieces are not 0 to 0"),
        ("model", {"vocab": {"a": 0, "b": "b"}}, "not a valid tokenizer.json: TypeError"),
        ("model", {"vocab": ["a"]}, "not a valid tokenizer.json"),
        ("model", {"vocab": {"a": 0}}, r"added token '\[PAD\]' \(id 0\) is not in the model's"),
        ("model", {"unk_token": "<unk>"}, "no piece '<unk>'"),
        ("model", {"vocab": {}}, r"added token '\[PAD\]'"),
    ],
)
def test_what_bert_s_never_is(
    vocab: bytes, stage: str, changes: dict[str, Any], message: str
) -> None:
    values = json.loads(fast_wordpiece_file(vocab))
    values[stage].update(changes)
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_files({"tokenizer.json": json.dumps(values).encode()})


def test_a_piece_of_two_lines(vocab: bytes) -> None:
    values = json.loads(fast_wordpiece_file(vocab))
    values["model"]["vocab"]["a\nb"] = len(values["model"]["vocab"])
    with pytest.raises(TokenizerError, match=r"'a\\nb' has a line break"):
        tokenizer_from_files({"tokenizer.json": json.dumps(values).encode()})


def test_a_config_that_contradicts_it(vocab: bytes) -> None:
    files = {"tokenizer.json": fast_wordpiece_file(vocab)}
    with pytest.raises(TokenizerError, match=r"contradicts the normalizer of tokenizer\.json"):
        tokenizer_from_files({**files, "tokenizer_config.json": b'{"strip_accents": false}'})
    agreed = b'{"strip_accents": true, "mask_token": "[SEP]"}'
    tokenizer = tokenizer_from_files({**files, "tokenizer_config.json": agreed})
    assert tokenizer.mask_id == tokenizer.sep_id
