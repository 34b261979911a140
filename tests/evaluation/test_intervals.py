"""Confidence intervals and significance tests, against SciPy and closed forms."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.evaluation.intervals import (
    bootstrap,
    bootstrap_p_value,
    mcnemar,
    paired_interval,
    percentile_interval,
    wilson,
)

GOLDEN = json.loads(Path(__file__).parents[1].joinpath("data/metrics_golden.json").read_text())


@pytest.mark.parametrize(("correct", "count", "low", "high", "p_value"), GOLDEN["statistics"])
def test_as_scipy(correct: int, count: int, low: float, high: float, p_value: float) -> None:
    assert wilson(correct, count) == pytest.approx((low, high), abs=1e-9)
    # McNemar's exact test is binomial over the examples that only one model predicts correctly.
    assert mcnemar(correct, count - correct) == pytest.approx(p_value, rel=1e-9)


def test_mcnemar_of_zero_and_of_very_many() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(7, 7) == 1.0
    assert mcnemar(0, 20000) == 0.0  # underflows to 0, without an error


def test_paired_interval() -> None:
    # Bonett & Price by hand: (5 + 1) / 102 and (15 + 1) / 102, 95%.
    first, second = 6 / 102, 16 / 102
    half = 1.959964 * math.sqrt((first + second - (second - first) ** 2) / 102)
    middle = second - first
    assert paired_interval(5, 15, 100) == pytest.approx((middle - half, middle + half), rel=1e-6)
    low, high = paired_interval(0, 0, 10)
    assert low == -high
    assert high > 0  # ten examples without a difference prove nothing


def test_the_bootstrap_of_a_mean_has_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=400)
    samples = bootstrap([lambda w: float(w @ values / w.sum())], len(values))[0]
    error = values.std() / math.sqrt(len(values))
    assert samples.mean() == pytest.approx(values.mean(), abs=0.2 * error)
    # The standard deviation of 2000 samples has an error of 1.6%; three times that is allowed.
    assert samples.std() == pytest.approx(error, rel=0.05)
    low, high = percentile_interval(samples)
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, rel=0.1)


def test_the_bootstrap_is_deterministic_and_paired() -> None:
    def first(weights: np.ndarray) -> float:
        return float(weights[0])

    samples = bootstrap([first, first], 5)
    assert (samples[0] == samples[1]).all()
    assert (samples == bootstrap([first, first], 5)).all()


def test_p_values_follow_the_difference() -> None:
    samples = np.random.default_rng(1).normal(2.0, 1.0, 2000)
    # Of a normal distribution 4.6% is beyond two deviations, 31.7% beyond one.
    assert bootstrap_p_value(2.0, samples) == pytest.approx(0.0455, abs=0.015)
    assert bootstrap_p_value(1.0, samples) == pytest.approx(0.317, abs=0.04)
    assert bootstrap_p_value(0.0, np.zeros(2000)) == 1.0
    assert bootstrap_p_value(9.0, samples) == 1 / 2001  # never 0: the number of samples bounds it


def test_nan_samples_give_nan() -> None:
    nothing = np.full(2000, math.nan)
    assert all(map(math.isnan, percentile_interval(nothing)))
    assert math.isnan(bootstrap_p_value(math.nan, nothing))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_proportion(numbers: tuple[int, int]) -> None:
    correct, count = numbers
    low, high = wilson(correct, count)
    assert 0 <= low <= correct / count <= high <= 1
