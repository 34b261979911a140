"""The figures of classification and regression, as GLUE and scikit-learn define them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.evaluation.intervals import Floats, Statistic

__all__ = [
    "Metric",
    "classification",
    "f_measure",
    "mean_metric",
    "metric_from_sums",
    "multi_label",
    "pearson",
    "proportion_metric",
    "regression",
    "spearman",
]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One figure of a model on n examples.

    Attributes:
        name: Such as `accuracy`.
        statistic: The figure, as a function of how often each example counts, float64 [n].
        right: bool [n], whether each answer is right, if the figure is the share of those.
        share: Whether it is a share, printed as a percentage.
    """

    name: str
    statistic: Statistic
    right: npt.NDArray[np.bool_] | None = None
    share: bool = True


def proportion_metric(name: str, right: npt.ArrayLike) -> Metric:
    """Return the share of examples that are right, from n truth values."""
    return Metric(name, _mean(right), np.asarray(right, np.bool_))


def mean_metric(name: str, scores: npt.ArrayLike) -> Metric:
    """Return the mean of one score an example, from n numbers in [0, 1]."""
    return Metric(name, _mean(scores))


def metric_from_sums(
    name: str, columns: Sequence[npt.ArrayLike], formula: Callable[[Floats], float]
) -> Metric:
    """Return a figure that depends on sums over the examples alone.

    Args:
        name: Its name.
        columns: K columns of n numbers each.
        formula: From the K sums to the figure.
    """
    table = np.stack([np.asarray(column, np.float64) for column in columns])  # [K, n]
    return Metric(name, lambda weights: formula(np.einsum("kn,n->k", table, weights)))


def classification(
    predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str]
) -> list[Metric]:
    """Return accuracy, F1 and the Matthews correlation of one label an example.

    With two labels F1 is that of the second, as GLUE has it; otherwise the unweighted mean over
    the labels that occur.
    """
    guessed, true = (
        np.array([[one == label for label in labels] for one in column], np.float64)  # [n, C]
        for column in (predictions, targets)
    )
    return [
        proportion_metric("accuracy", (guessed * true).sum(axis=1)),
        _f1_of_second(guessed, true) if len(labels) == 2 else _macro_f1(guessed, true),
        _matthews(guessed, true),
    ]


def multi_label(
    predictions: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], labels: Sequence[str]
) -> list[Metric]:
    """Return micro and macro F1 over all labels, and the share of examples without a mistake."""
    guessed, true = (
        np.array([[label in one for label in labels] for one in column], np.float64)  # [n, C]
        for column in (predictions, targets)
    )
    hits, claims, all_true = ((guessed * true).sum(1), guessed.sum(1), true.sum(1))
    return [
        metric_from_sums("micro_f1", [hits, claims, all_true], lambda sums: f_measure(*sums)),
        _macro_f1(guessed, true, absent=0.0),
        proportion_metric("accuracy", (guessed == true).all(axis=1)),
    ]


def regression(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> list[Metric]:
    """Return the correlations of Pearson and Spearman, and the mean squared error.

    Args:
        predictions: Numbers [n, K].
        targets: Numbers [n, K]; every figure is the mean over the K columns.
    """
    guessed, true = (np.asarray(each, np.float64).T for each in (predictions, targets))  # [K, n]

    def correlation(formula: Callable[[Floats, Floats, Floats], float]) -> Statistic:
        return lambda weights: float(
            np.mean([formula(x, y, weights) for x, y in zip(guessed, true, strict=True)])
        )

    errors = ((guessed - true) ** 2).mean(axis=0)
    return [
        Metric("pearson", correlation(pearson), share=False),
        Metric("spearman", correlation(spearman), share=False),
        Metric("mean_squared_error", _mean(errors), share=False),
    ]


def pearson(x: Floats, y: Floats, weights: Floats) -> float:
    """Return the correlation of x [n] and y [n], each pair counted as often as `weights` [n] says.

    NaN if all x or all y are equal.
    """
    present = weights > 0
    if np.ptp(x[present]) == 0 or np.ptp(y[present]) == 0:
        return math.nan
    x, y = (values - _sum(values, weights) / weights.sum() for values in (x, y))
    spread = math.sqrt(_sum(x * x, weights)) * math.sqrt(_sum(y * y, weights))
    return _sum(x * y, weights) / spread if spread else math.nan  # 0 by underflow


def spearman(x: Floats, y: Floats, weights: Floats) -> float:
    """Return the correlation of the ranks of x [n] and y [n]; equal values share their mean rank.

    NaN if all x or all y are equal.
    """
    return pearson(_ranks(x, weights), _ranks(y, weights), weights)


def f_measure(hits: float, claims: float, true: float) -> float:
    """Return F1 = 2 hits / (claims + true), the harmonic mean of precision and recall; 0 of none.

    Args:
        hits: How many were claimed and are true.
        claims: How many were claimed.
        true: How many are true.
    """
    return float(2 * hits / (claims + true)) if claims + true else 0.0


def _mean(values: npt.ArrayLike) -> Statistic:
    numbers = np.asarray(values, np.float64)
    return lambda weights: _sum(numbers, weights) / float(weights.sum())


def _sum(values: Floats, weights: Floats) -> float:
    # Not BLAS: its threads, thousands of times for microseconds, choke where others compute too.
    return float(np.einsum("n,n->", values, weights))


def _ranks(values: Floats, weights: Floats) -> Floats:
    # A value that counts w times takes w ranks, of which it gets the mean.
    _, group = np.unique(values, return_inverse=True)
    counts = np.bincount(group, weights)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return ranks


def _f1_of_second(guessed: Floats, true: Floats) -> Metric:
    columns = [guessed[:, 1] * true[:, 1], guessed[:, 1], true[:, 1]]
    return metric_from_sums("f1", columns, lambda sums: f_measure(*sums))


def _macro_f1(guessed: Floats, true: Floats, *, absent: float | None = None) -> Metric:
    # The F1 of a label that neither occurs nor is claimed is `absent`; None leaves it out.
    def formula(sums: Floats) -> float:
        hits, claims, truth = sums.reshape(3, -1)
        present = claims + truth > 0
        scores = 2 * hits[present] / (claims + truth)[present]
        count = len(scores) if absent is None else len(hits)
        return float(scores.sum() / count) if count else 0.0

    columns: list[Any] = [*(guessed * true).T, *guessed.T, *true.T]
    return metric_from_sums("macro_f1", columns, formula)


def _matthews(guessed: Floats, true: Floats) -> Metric:
    # For any number of labels: Gorodkin 2004 (R_K).  0 where a side has one label alone.
    def formula(sums: Floats) -> float:
        hits, count = sums[:2]
        claims, truth = sums[2:].reshape(2, -1)
        spread = (count**2 - claims @ claims) * (count**2 - truth @ truth)
        return float((hits * count - claims @ truth) / math.sqrt(spread)) if spread > 0 else 0.0

    columns: list[Any] = [(guessed * true).sum(1), np.ones(len(true)), *guessed.T, *true.T]
    return replace(metric_from_sums("matthews", columns, formula), share=False)
