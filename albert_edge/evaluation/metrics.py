"""Metrics of classification, regression and tagging, as GLUE, scikit-learn and seqeval define them.

A metric is a function of the examples' weights, so that the bootstrap can resample it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.pipelines.words import bio_to_entities

__all__ = ["Metric"]

Floats = npt.NDArray[np.float64]
# A metric of n examples, as a function of their weights: how often each counts, float64 [n].
Statistic = Callable[[Floats], float]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A metric of a model on n examples.

    Attributes:
        name: Such as `accuracy`.
        statistic: The metric, as a function of how often each example counts, float64 [n].
        correct: bool [n], whether each prediction is correct, if the metric is their proportion.
        is_percentage: Whether it is in [0, 1] and printed as a percentage.
    """

    name: str
    statistic: Statistic
    correct: npt.NDArray[np.bool_] | None = None
    is_percentage: bool = True


def proportion_metric(name: str, correct: npt.ArrayLike) -> Metric:
    """Return the proportion of correct examples, from n truth values."""
    return Metric(name, _mean(correct), np.asarray(correct, np.bool_))


def mean_metric(name: str, scores: npt.ArrayLike) -> Metric:
    """Return the mean of the examples' scores, n numbers in [0, 1]."""
    return Metric(name, _mean(scores))


def metric_from_sums(
    name: str, columns: Sequence[npt.ArrayLike], formula: Callable[[Floats], float]
) -> Metric:
    """Return a metric that depends on sums over the examples alone.

    Args:
        name: The metric's name.
        columns: K columns of n numbers each.
        formula: Computes the metric from the K sums.
    """
    table = np.stack([np.asarray(column, np.float64) for column in columns])  # [K, n]
    return Metric(name, lambda weights: formula(np.einsum("kn,n->k", table, weights)))


def classification(
    predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str]
) -> list[Metric]:
    """Return accuracy, F1 and the Matthews correlation, with one label for each example.

    With two labels F1 is that of the second, as in GLUE; otherwise the unweighted mean over the
    labels that occur.
    """
    predicted, true = (
        np.array([[value == label for label in labels] for value in column], np.float64)  # [n, C]
        for column in (predictions, targets)
    )
    return [
        proportion_metric("accuracy", (predicted * true).sum(axis=1)),
        _f1_of_second(predicted, true) if len(labels) == 2 else _macro_f1(predicted, true),
        _matthews(predicted, true),
    ]


def multi_label(
    predictions: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], labels: Sequence[str]
) -> list[Metric]:
    """Return micro and macro F1 over all labels, and the proportion of fully correct examples."""
    predicted, true = (
        np.array([[label in value for label in labels] for value in column], np.float64)  # [n, C]
        for column in (predictions, targets)
    )
    counts = [(predicted * true).sum(1), predicted.sum(1), true.sum(1)]
    return [
        metric_from_sums("micro_f1", counts, lambda sums: f_measure(*sums)),
        _macro_f1(predicted, true, absent=0.0),
        proportion_metric("accuracy", (predicted == true).all(axis=1)),
    ]


def regression(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> list[Metric]:
    """Return the correlations of Pearson and Spearman, and the mean squared error.

    Args:
        predictions: Numbers [n, K].
        targets: Numbers [n, K]; every metric is the mean over the K columns.
    """
    predicted, true = (np.asarray(each, np.float64).T for each in (predictions, targets))  # [K, n]

    def correlation(formula: Callable[[Floats, Floats, Floats], float]) -> Statistic:
        return lambda weights: float(
            np.mean([formula(x, y, weights) for x, y in zip(predicted, true, strict=True)])
        )

    errors = ((predicted - true) ** 2).mean(axis=0)
    return [
        Metric("pearson", correlation(pearson), is_percentage=False),
        Metric("spearman", correlation(spearman), is_percentage=False),
        Metric("mean_squared_error", _mean(errors), is_percentage=False),
    ]


def token_classification(
    predictions: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]
) -> list[Metric]:
    """Return the F1, precision and recall of entities, and the accuracy of words.

    An entity is correct if its type, its first and its last word are (Tjong Kim Sang & De Meulder
    2003, arXiv:cs/0306050); entities begin and end as in `bio_to_entities`, and as in seqeval.
    """
    found = [set(bio_to_entities(labels)) for labels in predictions]
    true = [set(bio_to_entities(labels)) for labels in targets]
    hits = [len(ours & theirs) for ours, theirs in zip(found, true, strict=True)]
    predicted, actual = [len(each) for each in found], [len(each) for each in true]
    correct = [
        sum(one == other for one, other in zip(ours, theirs, strict=True))
        for ours, theirs in zip(predictions, targets, strict=True)
    ]

    def ratio(sums: Floats) -> float:
        return float(sums[0] / sums[1]) if sums[1] else 0.0

    return [
        metric_from_sums("f1", [hits, predicted, actual], lambda sums: f_measure(*sums)),
        metric_from_sums("precision", [hits, predicted], ratio),
        metric_from_sums("recall", [hits, actual], ratio),
        metric_from_sums("accuracy", [correct, [*map(len, targets)]], ratio),
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


def f_measure(hits: float, predicted: float, actual: float) -> float:
    """Return F1, the harmonic mean of precision and recall; 0 if nothing is predicted or actual.

    Args:
        hits: The number of true positives.
        predicted: The number of predicted positives.
        actual: The number of actual positives.
    """
    return float(2 * hits / (predicted + actual)) if predicted + actual else 0.0


def _mean(values: npt.ArrayLike) -> Statistic:
    numbers = np.asarray(values, np.float64)
    return lambda weights: _sum(numbers, weights) / float(weights.sum())


def _sum(values: Floats, weights: Floats) -> float:
    # Not BLAS: thousands of multi-threaded calls of microseconds are slow on a busy machine.
    return float(np.einsum("n,n->", values, weights))


def _ranks(values: Floats, weights: Floats) -> Floats:
    # A value that counts w times takes w ranks, and gets their mean.
    _, group = np.unique(values, return_inverse=True)
    counts = np.bincount(group, weights)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return ranks


def _f1_of_second(predicted: Floats, true: Floats) -> Metric:
    columns = [predicted[:, 1] * true[:, 1], predicted[:, 1], true[:, 1]]
    return metric_from_sums("f1", columns, lambda sums: f_measure(*sums))


def _macro_f1(predicted: Floats, true: Floats, *, absent: float | None = None) -> Metric:
    # The F1 of a label that is neither predicted nor true is `absent`; None leaves it out.
    def formula(sums: Floats) -> float:
        hits, guesses, actual = sums.reshape(3, -1)
        present = guesses + actual > 0
        scores = 2 * hits[present] / (guesses + actual)[present]
        count = len(scores) if absent is None else len(hits)
        return float(scores.sum() / count) if count else 0.0

    columns: list[Any] = [*(predicted * true).T, *predicted.T, *true.T]
    return metric_from_sums("macro_f1", columns, formula)


def _matthews(predicted: Floats, true: Floats) -> Metric:
    # For any number of labels: Gorodkin 2004 (R_K).  0 where one side has a single label.
    def formula(sums: Floats) -> float:
        hits, count = sums[:2]
        guesses, actual = sums[2:].reshape(2, -1)
        spread = (count**2 - guesses @ guesses) * (count**2 - actual @ actual)
        return float((hits * count - guesses @ actual) / math.sqrt(spread)) if spread > 0 else 0.0

    columns: list[Any] = [(predicted * true).sum(1), np.ones(len(true)), *predicted.T, *true.T]
    return replace(metric_from_sums("matthews", columns, formula), is_percentage=False)
