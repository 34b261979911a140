"""A tokenizer.json becomes the vocab.txt that it was made from, or is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer import tokenizer_from_files
from tokenizer.files import fast_wordpiece_file
from tokenizer.reference import BERT_GOLDEN


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
