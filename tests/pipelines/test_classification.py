"""Classification: labels with their probabilities, numbers, and invalid inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from albert_edge.errors import InputError
from albert_edge.pipelines import Pipeline
from albert_edge.pipelines.classification import ORDER_LABELS, sigmoid, softmax
from pipelines.samples import TEXT


def test_a_text(classify: Pipeline) -> None:
    found = classify(TEXT)
    assert list(found["scores"]) == ["negative", "neutral", "positive"]
    assert found["score"] == max(found["scores"].values()) == found["scores"][found["label"]]
    assert sum(found["scores"].values()) == pytest.approx(1)
    encoding = classify.text_tokenizer().encode(TEXT)
    assert (found["tokens"], found["truncated"]) == (len(encoding.input_ids), False)
    logits = classify.model.run(encoding.input_ids)["logits"][0].astype(float)
    want = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(list(found["scores"].values()), want, rtol=1e-12)


def test_a_pair_differs_from_one_text(classify: Pipeline) -> None:
    pair = classify(TEXT, "nobody knows")
    assert pair["tokens"] > classify(TEXT)["tokens"]
    ids = classify.text_tokenizer().encode(TEXT, "nobody knows")
    assert pair["scores"] != classify(input_ids=ids.input_ids)["scores"]  # types count
    given = classify(input_ids=ids.input_ids, token_type_ids=ids.token_type_ids)
    assert given == pair


def test_multi_label(pipe: Callable[..., Pipeline]) -> None:
    classify = pipe("classification", problem_type="multi_label_classification")
    found = classify(TEXT)
    logits = classify.model.run(classify.text_tokenizer().encode(TEXT).input_ids)["logits"][0]
    probabilities = 1 / (1 + np.exp(-logits.astype(float)))
    np.testing.assert_allclose(list(found["scores"].values()), probabilities, rtol=1e-12)
    assert found.keys() == {"labels", "scores", "tokens", "truncated"}
    for threshold in (0, 0.5, 1):
        given = classify(TEXT, threshold=threshold)["labels"]
        wanted = {
            label for label, probability in found["scores"].items() if probability >= threshold
        }
        assert set(given) == wanted
        assert given == sorted(given, key=found["scores"].__getitem__, reverse=True)
    with pytest.raises(InputError, match=r"threshold must be in \[0, 1\], not 2"):
        classify(TEXT, threshold=2)


@pytest.mark.parametrize(
    "config", [{"labels": ("stars",)}, {"labels": ("stars",), "problem_type": "regression"}]
)
def test_a_number(pipe: Callable[..., Pipeline], config: dict[str, object]) -> None:
    number = pipe("classification", **config)
    found = number(TEXT)
    logits = number.model.run(number.text_tokenizer().encode(TEXT).input_ids)["logits"]
    assert found.keys() == {"value", "tokens", "truncated"}
    assert found["value"] == logits[0, 0]


def test_several_numbers(pipe: Callable[..., Pipeline]) -> None:
    found = pipe("classification", problem_type="regression")(TEXT)
    assert list(found["values"]) == ["negative", "neutral", "positive"]


def test_sigmoid_of_extremes() -> None:
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0, 1e4], np.float32)), [0, 0.5, 1])


def test_softmax_of_extremes() -> None:
    np.testing.assert_array_equal(softmax(np.array([1e4, 1e4, -1e4], np.float32)), [0.5, 0.5, 0])
    assert softmax(np.array([3.0, 1.0])).dtype == np.float64


def test_a_single_label_has_a_score_of_its_own(pipe: Callable[..., Pipeline]) -> None:
    """As in transformers' pipeline: the logistic of the logit, not a softmax over one."""
    problem = {"labels": ("spam",), "problem_type": "single_label_classification"}
    classify = pipe("classification", **problem)
    found = classify(TEXT)
    logits = classify.model.run(classify.text_tokenizer().encode(TEXT).input_ids)["logits"][0]
    assert found["score"] == pytest.approx(1 / (1 + np.exp(-float(logits[0]))))
    assert 0 < found["score"] < 1
    assert (found["label"], found["scores"]) == ("spam", {"spam": found["score"]})


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
