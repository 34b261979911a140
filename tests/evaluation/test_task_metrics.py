"""Metrics by the kind of the examples, agreement, and thresholds in hindsight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.datasets.examples import KINDS, Examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.evaluation.task_metrics import METRICS, agreement, best_thresholds, compute_metrics

PLAIN = EvaluateOptions()


def examples(kind: str, targets: list[Any], **more: Any) -> Examples:
    names = [str(number) for number in range(len(targets))]
    inputs: list[dict[str, Any]] = [{}] * len(targets)
    return Examples(kind=kind, ids=names, places=names, inputs=inputs, targets=targets, **more)


def figures(data: Examples, predictions: list[Any], **options: Any) -> dict[str, float]:
    found = compute_metrics(data, predictions, EvaluateOptions(**options))
    return {metric.name: metric.statistic(np.ones(len(data))) for metric in found}


def answer(text: str | None, odds: float | None = None) -> dict[str, Any]:
    return {"answer": text, "null_odds": odds}


def test_every_kind_has_metrics() -> None:
    assert set(METRICS) == set(KINDS)


def test_perplexity_is_over_all_tokens_of_all_texts() -> None:
    predictions = [
        {"log_probabilities": [math.log(0.5), math.log(0.25)], "hits": 1},
        {"log_probabilities": [math.log(0.125)], "hits": 1},
    ]
    found = figures(examples("fill-mask", [None, None]), predictions)
    # The geometric mean of 2, 4 and 8; and 2 of 3 tokens, not the mean of 1/2 and 1.
    assert found == {"perplexity": pytest.approx(4.0), "accuracy": pytest.approx(2 / 3)}
    hopeless = [{"log_probabilities": [-1e9], "hits": 0}] * 2
    assert math.isfinite(figures(examples("fill-mask", [None, None]), hopeless)["perplexity"])


def test_similarity_does_not_depend_on_the_scale() -> None:
    data = examples("similarity", [0.0, 2.5, 5.0, 1.0])
    found = figures(data, [-1.0, 0.0, 1.0, -0.6])
    assert list(found) == ["spearman", "pearson"]  # the official one first
    assert found["pearson"] == pytest.approx(1.0)
    assert figures(data, [0.0, 0.1, 0.9, 0.05])["spearman"] == pytest.approx(1.0)


def test_squad_2_splits_questions_with_and_without_an_answer() -> None:
    data = examples("question-answering", [("the mill",), ("a road",), (), ()], squad_v2=True)
    said = [answer("mill", 0.5), answer("the long road", -0.1), answer("x", 2.0), answer("y", -1.0)]
    found = figures(data, said)
    # Above the threshold of 0, the first and the third count as no answer.
    assert (found["HasAns_exact"], found["NoAns_exact"]) == (0.0, 0.5)
    # "long road" has one word more than "road": 2 * 1 / (2 + 1).
    assert found["HasAns_f1"] == pytest.approx((0 + 2 / 3) / 2)
    assert found["exact"] == 0.25
    later = figures(data, said, null_threshold=1.0)
    assert (later["HasAns_exact"], later["NoAns_exact"]) == (0.5, 0.5)
    assert "HasAns_exact" not in figures(examples("question-answering", [("a",)]), [answer("a")])


def test_thresholds_in_hindsight_are_of_squad_2_with_odds() -> None:
    data = examples("question-answering", [("mill",), ()], squad_v2=True)
    found = best_thresholds(data, [answer("mill", 0.5), answer("x", 2.0)])
    assert found == {
        "best_exact": 1.0,
        "best_exact_thresh": 0.5,
        "best_f1": 1.0,
        "best_f1_thresh": 0.5,
    }
    assert best_thresholds(data, [answer("mill"), answer("x")]) is None
    first = examples("question-answering", [("mill",)])
    assert best_thresholds(first, [answer("mill", 0.5)]) is None


@pytest.mark.parametrize(
    ("kind", "one", "other", "expected"),
    [
        ("classification", ["a", "b"], ["a", "a"], 0.5),
        ("multi-label", [["a", "b"], []], [["b", "a"], ["a"]], 0.5),
        ("token-classification", [["O", "B", "O"], ["O"]], [["O", "O", "O"], ["O"]], 0.75),
        (
            "question-answering",
            [answer("The mill!"), answer("a b")],
            [answer("mill"), answer("b c")],
            0.5,
        ),
        ("question-answering", [answer(None), answer("")], [answer(None), answer("a")], 1.0),
        ("regression", [[1.0]], [[1.0]], None),
        ("summarization", ["a"], ["a"], None),
    ],
)
def test_agreement(kind: str, one: list[Any], other: list[Any], expected: float | None) -> None:
    data = examples(kind, [()] * len(one))
    assert agreement(data, [one, other], PLAIN) == expected
    assert agreement(data, [other, one], PLAIN) == expected


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
def test_a_model_agrees_with_itself_and_is_right_about_its_own_answers(labels: list[str]) -> None:
    data = examples("classification", labels, labels=("a", "b", "c"))
    assert agreement(data, [labels, labels], PLAIN) == 1.0
    assert figures(data, labels)["accuracy"] == 1.0
