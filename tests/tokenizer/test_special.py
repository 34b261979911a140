"""Names of special tokens in the text are those tokens if asked, where the reference finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from albert_edge.errors import InputError
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.base import find_special_tokens
from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig
from albert_edge.tokenizer.sentencepiece import SentencePieceTokenizer
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer
from tokenizer.reference import ALBERT_GOLDEN, BERT_GOLDEN, assert_sound


@pytest.mark.parametrize("kind", BERT_GOLDEN["settings"])
def test_golden_ids_of_wordpiece(vocab: bytes, kind: str) -> None:
    tokenizer = WordPieceTokenizer(vocab, WordPieceConfig(**BERT_GOLDEN["settings"][kind]))
    for case in BERT_GOLDEN["special"]:
        encoding = tokenizer.encode(case["text"], allow_special=True)
        assert encoding.input_ids[1:-1] == case[kind], case["text"]
        assert_sound(encoding.offsets[1:-1], case["text"])


@pytest.mark.parametrize("kind", ALBERT_GOLDEN["settings"])
def test_golden_ids_of_sentencepiece(albert: Path, kind: str) -> None:
    options = SentencePieceConfig(**ALBERT_GOLDEN["settings"][kind])
    tokenizer = SentencePieceTokenizer(albert.read_bytes(), options)
    for case in ALBERT_GOLDEN["special"]:
        encoding = tokenizer.encode(case["text"], allow_special=True)
        assert encoding.input_ids[1:-1] == case[kind], case["text"]
        assert_sound(encoding.offsets[1:-1], case["text"])


def test_the_mask_is_where_the_published_model_looks_for_it(albert: Path) -> None:
    tokenizer = load_tokenizer(albert)
    text = "Paris is the [MASK] of France."
    encoding = tokenizer.encode(text, allow_special=True)
    assert encoding.input_ids.index(tokenizer.mask_id) == 4  # as in transformers' own test
    start, end = encoding.offsets[4] or (0, 0)
    assert text[start:end] == "[MASK]"


@pytest.mark.parametrize("kind", ["tokenizer", "wordpiece"])
def test_only_if_asked(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    special = {tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.mask_id}
    text = "[CLS] a [SEP]" + " ".join(map(tokenizer.id_to_piece, special))
    assert not special & set(tokenizer.encode(text, text).input_ids[1:-1]) - {tokenizer.sep_id}
    assert tokenizer.encode(text).input_ids.count(tokenizer.sep_id) == 1
    asked = tokenizer.encode(text, "b [MASK]", allow_special=True)
    assert special <= set(asked.input_ids[1:-1])
    assert (asked.input_ids[-2], asked.offsets[-2]) == (tokenizer.mask_id, (2, 8))
    assert tokenizer.encode("", allow_special=True) == tokenizer.encode("")


def test_special_tokens_count_when_cut(wordpiece: Tokenizer) -> None:
    encoding = wordpiece.encode("[MASK] [MASK] a b", max_length=4, allow_special=True)
    mask = wordpiece.mask_id
    assert encoding.input_ids == [wordpiece.cls_id, mask, mask, wordpiece.sep_id]
    assert encoding.offsets == [None, (0, 6), (7, 13), None]


def test_renamed_tokens(vocab: bytes) -> None:
    config = b'{"mask_token": {"content": "<blank>", "lstrip": true}, "do_lower_case": false}'
    files = {"vocab.txt": vocab.replace(b"[MASK]", b"<blank>"), "tokenizer_config.json": config}
    tokenizer = tokenizer_from_files(files)
    encoding = tokenizer.encode("a <blank> [MASK] <BLANK>", allow_special=True)
    assert encoding.input_ids.count(tokenizer.mask_id) == 1
    assert encoding.offsets[2] == (2, 9)


def test_the_longest_name_counts() -> None:
    names = {"<m>": 1, "<m>>": 2, "a.c": 3}
    found = find_special_tokens("<m>> abc a.c <M>", names, do_lower_case=False)
    assert found == [(0, 4, 2), (9, 12, 3)]
    # U+0130 becomes two characters when lowered; the places are those of the text that was given.
    found = find_special_tokens("\u0130\n<M>A.C", names, do_lower_case=True)
    assert found == [(2, 5, 1), (5, 8, 3)]


@pytest.mark.parametrize("text", ["[MASK] \ud83d", b"[MASK]"])
def test_what_is_no_text(wordpiece: Tokenizer, text: str) -> None:
    with pytest.raises(InputError, match=r"half of a surrogate pair|must be a str"):
        wordpiece.encode(text, allow_special=True)
