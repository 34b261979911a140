"""Numbers as text: rounded as a reader expects, and the same everywhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.benchmark.format import (
    format_cores,
    format_count,
    format_megabytes,
    format_metric,
    format_percent,
    format_ratio,
    format_tick,
)

SUPERSCRIPTS = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"
ASCII = str.maketrans(SUPERSCRIPTS, "-0123456789")


def value_of(text: str) -> float:
    return float(text.translate(ASCII).replace("×10", "e"))


@given(st.floats(1e-12, 1e12))
def test_a_metric_is_within_half_a_unit_of_its_third_digit(value: float) -> None:
    text = format_metric(value)
    # At most half of the last of three digits: 0.5% of a number that begins with 1.
    assert value_of(text) == pytest.approx(value, rel=0.00501)
    assert format_metric(-value) == f"-{text}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.001, "0.00100"),
        (0.0009994, "9.99×10⁻⁴"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (99.95, "100"),
        (1234.5, "1234"),
    ],
)
def test_a_metric_changes_its_form_where_digits_run_out(value: float | None, text: str) -> None:
    assert format_metric(value) == text


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_metric_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="is not a finite number"):
        format_metric(value)


@given(st.sampled_from([1, 1.5, 2, 3, 5, 8]), st.integers(-12, 12))
def test_a_tick_is_exact(digit: float, power: int) -> None:
    value = float(f"{digit}e{power}")
    text = format_tick(value)
    mantissa, _, power_of_ten = text.rpartition("×")
    if set(text) & set(SUPERSCRIPTS):
        exponent = power_of_ten.removeprefix("10").translate(ASCII)
        assert float(f"{mantissa or 1}e{exponent}") == value
    else:
        assert float(text) == value


def test_sizes_percentages_counts_and_ratios() -> None:
    assert [format_megabytes(size) for size in (None, 0, 999_000)] == ["-", "0", "0.999"]
    assert [format_percent(share) for share in (None, 1, 0.5)] == ["-", "100%", "50.0%"]
    assert [format_count(n, "round") for n in (0, 1, 2.5)] == ["0 rounds", "1 round", "2.5 rounds"]
    assert [format_ratio(ratio) for ratio in (0.5, 9.9994, 10)] == ["×0.500", "×9.999", "×10.0"]


def test_a_quota_is_named_only_where_there_is_one() -> None:
    assert format_cores({"cores": 1, "conditions": {}}) == "1 core"
    assert format_cores({"cores": 4, "conditions": {"cpu_quota": None}}) == "4 cores"
    limited = {"cores": 4, "conditions": {"cpu_quota": {"cores": 1.5}}}
    assert format_cores(limited) == "4 cores (CPU quota 1.5)"
