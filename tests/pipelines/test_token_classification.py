"""Token classification: a label for every word at its place in the text, and entities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.errors import InputError
from albert_edge.pipelines import Pipeline
from albert_edge.pipelines.classification import softmax

TEXT = "The miller's daughter — nobody knows; why it fell."
LABELS = ("O", "B-PER", "I-PER")


@pytest.fixture(scope="module")
def tag(pipe: Callable[..., Pipeline]) -> Pipeline:
    return pipe("token-classification", labels=LABELS)


def test_words_are_spans_of_the_text(tag: Pipeline) -> None:
    found = tag(TEXT)
    texts = [word["text"] for word in found["words"]]
    assert texts == [TEXT[word["start"] : word["end"]] for word in found["words"]]
    assert texts[:4] == ["The", "miller's", "daughter", "—"]
    assert texts[-2:] == ["fell", "."]
    assert (found["tokens"], found["truncated"]) == (
        len(tag.text_tokenizer().encode(TEXT).input_ids),
        False,
    )
    assert {word["label"] for word in found["words"]} <= set(LABELS)


@pytest.mark.parametrize("aggregation", ["first", "average", "max"])
def test_the_label_of_a_word_of_several_tokens(tag: Pipeline, aggregation: str) -> None:
    encoding = tag.text_tokenizer().encode("daughter")
    rows = tag.model.run(encoding.input_ids)["logits"][0, 1:-1]
    assert len(rows) > 1
    probabilities = np.stack([softmax(row) for row in rows])
    want = {
        "first": probabilities[0],
        "average": probabilities.mean(axis=0),
        "max": max(probabilities, key=lambda row: row.max()),
    }[aggregation]
    (word,) = tag("daughter", aggregation=aggregation)["words"]
    assert word["label"] == LABELS[want.argmax()]
    assert word["score"] == pytest.approx(want.max())


def test_entities_cover_the_labelled_words(tag: Pipeline) -> None:
    found = tag(TEXT, entities=True)
    assert "entities" not in tag(TEXT)
    inside = [
        word
        for entity in found["entities"]
        for word in found["words"]
        if entity["start"] <= word["start"] and word["end"] <= entity["end"]
    ]
    assert inside == [word for word in found["words"] if word["label"] != "O"]
    assert inside
    for entity in found["entities"]:
        assert entity["label"] == "PER"
        assert entity["text"] == TEXT[entity["start"] : entity["end"]]


@pytest.mark.parametrize("seq_len", [None, 24])
def test_a_long_text_is_truncated(pipe: Callable[..., Pipeline], seq_len: int | None) -> None:
    tag = pipe("token-classification", labels=LABELS, seq_len=seq_len)
    found = tag("the river " * 100)
    assert (found["tokens"], found["truncated"]) == (seq_len or 40, True)
    assert found["words"][-1]["end"] < 1000


def test_ids(tag: Pipeline) -> None:
    ids = tag.text_tokenizer().encode("daughter").input_ids
    found = tag(input_ids=ids, entities=True)
    assert [word["text"] for word in found["words"]] == ids
    assert [word["start"] for word in found["words"]] == list(range(len(ids)))
    assert all(entity["text"] for entity in found["entities"])


@settings(max_examples=60)
@given(text=st.text(max_size=30))
def test_any_text(tag: Pipeline, text: str) -> None:
    try:
        found = tag(text, entities=True)
    except InputError as error:
        assert "the text is empty" in str(error)  # noqa: PT017 (any other text has a result)
        return
    for part in ("words", "entities"):
        edges = [edge for one in found[part] for edge in (one["start"], one["end"])]
        assert edges == sorted(edges)
        assert all(one["text"] == text[one["start"] : one["end"]] for one in found[part])


def test_mistakes(tag: Pipeline) -> None:
    with pytest.raises(InputError, match="choose from first, average, max"):
        tag(TEXT, aggregation="last")
    with pytest.raises(InputError, match="the text is empty"):
        tag(" ")
