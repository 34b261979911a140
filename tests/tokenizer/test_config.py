"""What a tokenizer_config.json says is followed, or refused."""

from __future__ import annotations

import json

import pytest

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.tokenizer.config import SentencePieceConfig
from tokenizer.reference import BERT_GOLDEN, reference_ids


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[1]", "expected a JSON object, got list"),
        ("{", "is not JSON"),
        ('{"do_lower_case": "yes"}', "do_lower_case must be a bool: 'yes'"),
        ('{"do_lowercase": false}', "unknown key 'do_lowercase'; did you mean 'do_lower_case'"),
        ('{"tokenizer_class": "XLNetTokenizer"}', "tokenizer_class is 'XLNetTokenizer'"),
        ('{"sp_model_kwargs": {"enable_sampling": true}}', "sp_model_kwargs .* is not supported"),
        ('{"mask_token": "<mask>"}', "the vocabulary has no piece '<mask>'"),
    ],
)
def test_a_config_that_cannot_be_followed(model: bytes, config: str, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_files({"spiece.model": model, "tokenizer_config.json": config.encode()})


def test_a_config_as_hugging_face_writes_it(model: bytes) -> None:
    config = {
        "tokenizer_class": "AlbertTokenizer",
        "mask_token": {"__type": "AddedToken", "content": "[SEP]", "lstrip": True},
        "bos_token": "[CLS]",
        "model_max_length": 512,
        "sp_model_kwargs": {},
        "pad_token": None,
        "keep_accents": True,
    }
    files = {"spiece.model": model, "tokenizer_config.json": json.dumps(config).encode()}
    tokenizer = tokenizer_from_files(files)
    assert (tokenizer.mask_id, tokenizer.pad_id) == (tokenizer.sep_id, 0)
    text = "a café"
    assert tokenizer.tokenize(text).ids == reference_ids(
        text, SentencePieceConfig(keep_accents=True), model
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"tokenize_chinese_chars": "no"}', "tokenize_chinese_chars must be a bool: 'no'"),
        ('{"strip_accents": 1}', "strip_accents must be a bool: 1"),
        ('{"unk_token": 3}', "unk_token must be a str: 3"),
        ('{"strip_accent": true}', "unknown key 'strip_accent'; did you mean 'strip_accents'"),
        ('{"tokenizer_class": "BertJapaneseTokenizer"}', "is 'BertJapaneseTokenizer', expected"),
        ('{"do_basic_tokenize": false}', "do_basic_tokenize False is not supported"),
        ('{"never_split": ["x"]}', r"never_split \['x'\] is not supported"),
        ('{"cls_token": "<s>"}', "the vocabulary has no piece '<s>'"),
    ],
)
def test_a_wordpiece_config_that_cannot_be_followed(
    vocab: bytes, config: str, message: str
) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_files({"vocab.txt": vocab, "tokenizer_config.json": config.encode()})


@pytest.mark.parametrize("kind", ["BertTokenizer", "BertTokenizerFast", "AlbertTokenizer", None])
def test_a_wordpiece_config_as_hugging_face_writes_it(vocab: bytes, kind: str | None) -> None:
    config = {
        "added_tokens_decoder": {"0": {"content": "[PAD]", "lstrip": False, "special": True}},
        "clean_up_tokenization_spaces": True,
        "do_basic_tokenize": True,
        "do_lower_case": False,
        "mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": False},
        "model_max_length": 512,
        "never_split": None,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": kind,
        "unk_token": "[UNK]",
    }
    files = {"vocab.txt": vocab, "tokenizer_config.json": json.dumps(config).encode()}
    tokenizer = tokenizer_from_files(files)
    for case in BERT_GOLDEN["texts"]:
        assert tokenizer.tokenize(case["text"]).ids == case["cased"], case["text"]


@pytest.mark.parametrize(
    ("stated", "length"),
    [
        ({}, None),
        ({"model_max_length": None}, None),
        ({"model_max_length": 10**30}, None),  # of transformers, for no limit
        ({"model_max_length": 1e30}, None),
        ({"model_max_length": 128}, 128),
        ({"model_max_length": 128.0}, 128),
        ({"max_len": 64}, 64),  # of transformers 2
        ({"model_max_length": 32, "max_len": 64, "padding_side": "right"}, 32),
    ],
)
def test_the_longest_text(stated: dict[str, object], length: int | None, model: bytes) -> None:
    files = {"spiece.model": model, "tokenizer_config.json": json.dumps(stated).encode()}
    tokenizer = tokenizer_from_files(files)
    assert tokenizer.model_max_length == length
    assert tokenizer_from_files(tokenizer.files()).model_max_length == length
    written = json.loads(tokenizer.files()["tokenizer_config.json"])
    assert ("model_max_length" in written) == (length is not None)
