"""Sentence order: the probabilities of the model's two logits, and what is missing is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from albert_edge.errors import InputError
from albert_edge.pipelines import Pipeline
from albert_edge.pipelines.sentence_order import ORDER_LABELS

FIRST, SECOND = "a storm took the roof", "nobody knows who built it"


@pytest.fixture(scope="module")
def order(pipe: Callable[..., Pipeline]) -> Pipeline:
    return pipe("sentence-order")


def test_two_texts(order: Pipeline) -> None:
    found = order(FIRST, SECOND)
    encoding = order.text_tokenizer().encode(FIRST, SECOND)
    outputs = order.model.run(encoding.input_ids, encoding.token_type_ids)
    logits = outputs["sop_logits"][0].astype(float)
    want = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose([found["scores"][label] for label in ORDER_LABELS], want, rtol=1e-9)
    assert found["label"] == ORDER_LABELS[int(logits.argmax())]
    assert found["score"] == max(found["scores"].values())
    assert (found["tokens"], found["truncated"]) == (len(encoding.input_ids), False)
    given = {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
    assert order(**given) == found
    assert order(SECOND, FIRST)["scores"] != found["scores"]


def test_long_texts_are_cut(order: Pipeline) -> None:
    found = order(FIRST, " ".join([SECOND] * 20))
    assert found["truncated"]
    assert found["tokens"] == order.model.max_tokens


def test_one_text_has_no_order(order: Pipeline) -> None:
    with pytest.raises(InputError, match=r"needs two texts: give a second one \(--pair\)"):
        order(FIRST)
    for types in (None, [0, 0, 0, 0]):
        with pytest.raises(InputError, match="need token_type_ids that are 1 for the second text"):
            order(input_ids=[2, 9, 8, 3], token_type_ids=types)
    with pytest.raises(InputError, match="the second text is empty"):
        order(FIRST, " ")
    with pytest.raises(InputError, match="the first text is empty"):
        order("", SECOND)
