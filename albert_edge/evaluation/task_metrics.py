"""From answers to figures: what is measured of each kind of task, and where two models agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.datasets.examples import Examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.evaluation.intervals import Floats
from albert_edge.evaluation.metrics import (
    Metric,
    classification,
    mean_metric,
    metric_from_sums,
    multi_label,
    proportion_metric,
    regression,
)
from albert_edge.evaluation.ner import tagging
from albert_edge.evaluation.rouge import Rouge, porter_stemmer, rouge
from albert_edge.evaluation.squad import (
    best_threshold,
    exact_score,
    f1_score,
    normalize_answer,
    references,
)

__all__ = ["agreement", "measure", "thresholds"]

Predictions = Sequence[Any]


def measure(examples: Examples, predictions: Predictions, options: EvaluateOptions) -> list[Metric]:
    """Return the metrics of the examples' kind, the official one first.

    Args:
        examples: n examples.
        predictions: n answers to them, as `Predicted` has them.
        options: `null_threshold` and `stem` matter here.
    """
    return _MEASURES[examples.kind](examples, predictions, options)


def thresholds(examples: Examples, predictions: Predictions) -> dict[str, float] | None:
    """Find the best no-answer thresholds of SQuAD 2.0 in hindsight; None if there are no odds.

    Returns:
        `best_exact`, `best_exact_thresh`, `best_f1` and `best_f1_thresh`, as the official evaluator
        calls them, scores in [0, 1].
    """
    if not examples.second or any(one["null_odds"] is None for one in predictions):
        return None
    answers = [one["answer"] for one in predictions]
    found: dict[str, float] = {}
    for name, scores in zip(("exact", "f1"), _squad_scores(examples, answers), strict=True):
        best, threshold = best_threshold(
            scores,
            [bool(answer) for answer in answers],
            [bool(truths) for truths in examples.targets],
            [one["null_odds"] for one in predictions],
        )
        found |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
    return found


def agreement(
    examples: Examples, answers: Sequence[Predictions], options: EvaluateOptions
) -> float | None:
    """Return the share of examples (of words, if they are tagged) with the same answer twice.

    None where answers are numbers or long texts, which are hardly ever the same.
    """
    first, second = answers
    if examples.kind in ("regression", "similarity", "fill-mask", "summarization"):
        return None
    if examples.kind == "question-answering":
        first, second = (
            [None if text is None else normalize_answer(text) for text in texts]
            for texts in (_final(examples, each, options) for each in (first, second))
        )
    if examples.kind == "multi-label":
        first, second = ([set(one) for one in each] for each in (first, second))
    if examples.kind == "token-classification":
        first, second = ([tag for one in each for tag in one] for each in (first, second))
    return float(np.mean([one == other for one, other in zip(first, second, strict=True)]))


def _single(examples: Examples, predictions: Predictions, _: EvaluateOptions) -> list[Metric]:
    return classification(predictions, examples.targets, examples.labels)


def _several(examples: Examples, predictions: Predictions, _: EvaluateOptions) -> list[Metric]:
    return multi_label(predictions, examples.targets, examples.labels)


def _numbers(examples: Examples, predictions: Predictions, _: EvaluateOptions) -> list[Metric]:
    return regression(predictions, examples.targets)


def _similarity(examples: Examples, predictions: Predictions, _: EvaluateOptions) -> list[Metric]:
    # A cosine and a rating are on different scales: only how they go together counts.
    columns = ([[number] for number in each] for each in (predictions, examples.targets))
    return sorted(regression(*columns)[:2], key=lambda metric: metric.name != "spearman")


def _tags(examples: Examples, predictions: Predictions, _: EvaluateOptions) -> list[Metric]:
    return tagging(predictions, examples.targets)


def _squad(examples: Examples, predictions: Predictions, options: EvaluateOptions) -> list[Metric]:
    exact, f1 = _squad_scores(examples, _final(examples, predictions, options))
    metrics = [proportion_metric("exact", exact), mean_metric("f1", f1)]
    if not examples.second:
        return metrics
    known = np.array([bool(truths) for truths in examples.targets])
    for name, chosen in (("HasAns", known), ("NoAns", ~known)):
        if chosen.any():
            parts = (("exact", exact), ("f1", f1))
            metrics += [_mean_among(f"{name}_{part}", scores, chosen) for part, scores in parts]
    return metrics


def _mean_among(name: str, scores: Sequence[float], chosen: Any) -> Metric:
    def mean(sums: Floats) -> float:
        return float(sums[0] / sums[1]) if sums[1] else math.nan

    return metric_from_sums(name, [np.asarray(scores) * chosen, chosen], mean)


def _squad_scores(
    examples: Examples, answers: Sequence[str | None]
) -> tuple[list[float], list[float]]:
    exact, f1 = [], []
    for answer, target in zip(answers, examples.targets, strict=True):
        truths = references(target, second=examples.second)
        exact.append(float(answer is not None and exact_score(answer, truths)))
        f1.append(0.0 if answer is None else f1_score(answer, truths, second=examples.second))
    return exact, f1


def _final(
    examples: Examples, predictions: Predictions, options: EvaluateOptions
) -> list[str | None]:
    # What is answered in the end: "" where the odds exceed the threshold.
    if not examples.second:
        return [one["answer"] for one in predictions]
    odds = [-math.inf if one["null_odds"] is None else one["null_odds"] for one in predictions]
    return [
        "" if each > options.null_threshold else one["answer"]
        for one, each in zip(predictions, odds, strict=True)
    ]


def _perplexity(examples: Examples, predictions: Predictions, _: EvaluateOptions) -> list[Metric]:
    """Return the pseudo-perplexity, and how often the hidden token is the likeliest.

    Salazar et al. 2020 (arXiv:1910.14659): every token is hidden by itself; the result is the
    exponential of minus the mean log probability over all tokens of all texts.
    """
    logs = [sum(one["log_probabilities"]) for one in predictions]
    counts = [len(one["log_probabilities"]) for one in predictions]
    hits = [one["hits"] for one in predictions]

    def exponential(sums: Floats) -> float:
        return math.exp(min(-sums[0] / sums[1], 700))  # beyond lies infinity, which JSON lacks

    return [
        replace(metric_from_sums("perplexity", [logs, counts], exponential), share=False),
        metric_from_sums("accuracy", [hits, counts], lambda sums: float(sums[0] / sums[1])),
    ]


def _rouge(examples: Examples, predictions: Predictions, options: EvaluateOptions) -> list[Metric]:
    stemmer = porter_stemmer() if options.stem else None
    scores = [
        rouge(summary, references, stemmer=stemmer)
        for summary, references in zip(predictions, examples.targets, strict=True)
    ]
    return [mean_metric(name, [getattr(one, name) for one in scores]) for name in Rouge._fields]


_MEASURES: dict[str, Callable[[Examples, Predictions, EvaluateOptions], list[Metric]]] = {
    "classification": _single,
    "multi-label": _several,
    "regression": _numbers,
    "sentence-order": _single,
    "similarity": _similarity,
    "token-classification": _tags,
    "question-answering": _squad,
    "summarization": _rouge,
    "fill-mask": _perplexity,
}
