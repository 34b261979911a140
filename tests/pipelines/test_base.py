"""What every pipeline does with texts and ids before its model runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from albert_edge.errors import InputError
from albert_edge.pipelines import Pipeline, load
from albert_edge.pipelines.base import check_not_empty
from albert_edge.pipelines.classification import Classification
from albert_edge.tokenizer import Encoding, tokenizer_from_files
from pipelines.samples import TEXT


@pytest.mark.parametrize("seq_len", [None, 24])
def test_a_long_text_is_truncated(pipe: Callable[..., Pipeline], seq_len: int | None) -> None:
    classify = pipe("classification", seq_len=seq_len)
    long = classify("the river " * 10_000)
    assert (long["tokens"], long["truncated"]) == (seq_len or 40, True)
    ids = classify.text_tokenizer().encode("the river " * 10_000, max_length=seq_len or 40)
    assert classify(input_ids=ids.input_ids)["scores"] == long["scores"]


def test_a_text_is_truncated_as_its_tokenizer_says(pipe: Callable[..., Pipeline]) -> None:
    classify = pipe("classification")
    whole, text = classify.text_tokenizer(), "the mill by the river fell in a storm " * 9
    for limit, side in ((None, "right"), (12, "right"), (12, "left"), (10**6, "right")):
        stated = json.loads(whole.files()["tokenizer_config.json"])
        stated |= {"model_max_length": limit, "truncation_side": side}
        files = {**whole.files(), "tokenizer_config.json": json.dumps(stated).encode()}
        tokenizer = tokenizer_from_files(tokenizer_from_files(files).files())
        found = Classification(classify.model, tokenizer)(text)
        ids = whole.tokenize(text).ids
        count = min(limit or 40, 40)
        kept = ids[-(count - 2) :] if side == "left" else ids[: count - 2]
        want = classify(input_ids=[whole.cls_id, *kept, whole.sep_id])
        assert (found["tokens"], found["truncated"]) == (count, True)
        assert found["scores"] == want["scores"]


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b"])
def test_empty_text(classify: Pipeline, text: str) -> None:
    with pytest.raises(InputError, match="the text is empty"):
        classify(text)
    with pytest.raises(InputError, match="the first text is empty"):
        classify(text, TEXT)
    with pytest.raises(InputError, match="the second text is empty"):
        classify(TEXT, text)


def test_one_emoji_is_a_text(classify: Pipeline) -> None:
    assert classify("🙂")["tokens"] >= 3


def test_text_and_ids_are_exclusive(classify: Pipeline) -> None:
    for given in ({}, {"pair": TEXT}, {"pair": TEXT, "input_ids": [2, 3]}):
        with pytest.raises(InputError, match="give a text or input_ids"):
            classify(**given)
    with pytest.raises(InputError, match="not both"):
        classify(TEXT, input_ids=[2, 3])
    with pytest.raises(InputError, match="must be a str, not bytes"):
        classify(b"bytes")
    with pytest.raises(InputError, match="half of a surrogate pair"):
        classify("\udcff")
    with pytest.raises(InputError, match="whole numbers"):
        classify(input_ids=["a", "b"])


def test_no_tokenizer(tiny_tflite: Callable[..., bytes]) -> None:
    bare = load(tiny_tflite("classification"))
    assert isinstance(bare, Classification)
    with pytest.raises(InputError, match=r"carries no tokenizer.*give input_ids"):
        bare(TEXT)
    assert bare(input_ids=[2, 9, 3])["tokens"] == 3


def test_ids_are_wrapped_as_they_are(classify: Pipeline) -> None:
    encoding, truncated = classify.encode(None, None, [2, 9, 3], None)
    assert (encoding.input_ids, encoding.token_type_ids) == ([2, 9, 3], [0, 0, 0])
    assert encoding.offsets == [None] * 3
    assert not truncated
    encoding, _ = classify.encode(None, None, (2, 9, 3), (0, 1, 1))
    assert encoding.token_type_ids == [0, 1, 1]


def test_only_what_is_too_long_is_cut(classify: Pipeline) -> None:
    most, cuts = classify.model.max_tokens, set()
    for words in range(1, most + 3):
        whole = classify.text_tokenizer().encode("the " * words).input_ids
        encoding, truncated = classify.encode("the " * words, None, None, None)
        assert truncated == (len(whole) > most)
        assert len(encoding.input_ids) == min(len(whole), most)
        assert encoding.input_ids[:-1] == whole[: len(encoding.input_ids) - 1]
        cuts.add(truncated)
    assert cuts == {False, True}


@pytest.mark.parametrize(
    ("offsets", "paired", "message"),
    [
        ([None, None], False, "the text is empty"),
        ([None, None, (0, 1), None], True, "the first text is empty"),
        ([None, (0, 1), None, None], True, "the second text is empty"),
    ],
)
def test_the_empty_text_is_named(offsets: list[Any], paired: bool, message: str) -> None:
    zeros = [0] * len(offsets)
    with pytest.raises(InputError, match=message):
        check_not_empty(Encoding(zeros, zeros, offsets), paired=paired)
    check_not_empty(Encoding(zeros, zeros, [None, (0, 1), None, (0, 1), None]), paired=True)
