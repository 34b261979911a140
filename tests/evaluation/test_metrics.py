"""Every metric equals that of the public evaluators; see tests/data/make_metrics_golden.py."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.evaluation.metrics import (
    Metric,
    classification,
    multi_label,
    pearson,
    regression,
    spearman,
    token_classification,
)
from albert_edge.pipelines.words import bio_to_entities
from evaluation.files import GOLDEN

TAGS = json.loads((Path(__file__).parents[1] / "data/tags_golden.json").read_text())


def _values(metrics: list[Metric], count: int) -> dict[str, float]:
    return {metric.name: metric.statistic(np.ones(count)) for metric in metrics}


def _check(metrics: list[Metric], golden: dict[str, Any], *, without: tuple[str, ...] = ()) -> None:
    found = _values(metrics, len(golden["targets"]))
    wanted = {name: golden[name] for name in found if name not in without}
    # The same sums in another order: rounding differs in the last digits only.
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-12)
    assert {*golden, *without} >= {*found}


@pytest.mark.parametrize("golden", GOLDEN["classification"])
def test_classification(golden: dict[str, Any]) -> None:
    metrics = classification(golden["predictions"], golden["targets"], golden["labels"])
    _check(metrics, golden)


def test_multi_label() -> None:
    golden = GOLDEN["multi_label"]
    _check(multi_label(golden["predictions"], golden["targets"], golden["labels"]), golden)


@pytest.mark.parametrize("golden", GOLDEN["regression"])
def test_regression(golden: dict[str, Any]) -> None:
    columns = [[[number] for number in golden[side]] for side in ("predictions", "targets")]
    _check(regression(*columns), golden, without=("mean_squared_error",))


def test_metrics_of_several_numbers_are_means() -> None:
    found = _values(regression([[1, 5], [2, 3], [3, 4]], [[1, 1], [2, 2], [3, 3]]), 3)
    assert found["pearson"] == pytest.approx((1 - 0.5) / 2)
    assert found["mean_squared_error"] == pytest.approx((16 + 1 + 1) / 6)


@pytest.mark.parametrize("golden", TAGS)
def test_tags_of_every_scheme_are_those_of_seqeval(golden: dict[str, Any]) -> None:
    found = [[list(entity) for entity in bio_to_entities(tags)] for tags in golden["targets"]]
    assert found == golden["entities"]
    if "predictions" in golden:
        _check(token_classification(golden["predictions"], golden["targets"]), golden)


@pytest.mark.parametrize("golden", GOLDEN["tags"])
def test_token_classification(golden: dict[str, Any]) -> None:
    _check(token_classification(golden["predictions"], golden["targets"]), golden)


def test_correlations_of_equal_numbers_are_undefined() -> None:
    ones, numbers = np.full(3, 0.1), np.arange(3.0)
    assert math.isnan(pearson(ones, numbers, np.ones(3)))
    assert math.isnan(spearman(numbers, ones, np.ones(3)))


@given(st.data())
def test_a_weight_of_two_equals_two_examples(data: st.DataObject) -> None:
    """The bootstrap relies on it: weights stand for repeated examples, in every metric."""
    count = data.draw(st.integers(2, 8))

    def draw(values: Any) -> list[Any]:
        return data.draw(st.lists(values, min_size=count, max_size=count))

    weights = draw(st.integers(0, 3))
    if not sum(weights):
        return
    labels = ("a", "b", "c")
    names, numbers = st.sampled_from(labels), st.tuples(st.integers(-3, 3))
    tags = st.tuples(st.sampled_from(["O", "B-X", "I-X"]))
    for make, values in (
        (lambda *sides: classification(*sides, labels), names),
        (lambda *sides: multi_label(*sides, labels), st.lists(names)),
        (regression, numbers),
        (token_classification, tags),
    ):
        sides = draw(values), draw(values)
        twice = [
            [one for one, times in zip(side, weights, strict=True) for _ in range(times)]
            for side in sides
        ]
        once = [metric.statistic(np.array(weights, float)) for metric in make(*sides)]
        assert once == pytest.approx(
            list(_values(make(*twice), len(twice[0])).values()), nan_ok=True
        )
