"""Compute the metrics of each kind of examples, and the agreement of two models' predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.datasets import EvaluateOptions, Examples
from albert_edge.evaluation.metrics import (
    Metric,
    classification,
    mean_metric,
    metric_from_sums,
    multi_label,
    proportion_metric,
    regression,
    token_classification,
)
from albert_edge.evaluation.rouge import Rouge, porter_stemmer, rouge
from albert_edge.evaluation.squad import (
    best_threshold,
    exact_score,
    f1_score,
    normalize_answer,
    references,
)

__all__ = ["compute_metrics"]

Predictions = Sequence[Any]


def compute_metrics(
    examples: Examples, predictions: Predictions, options: EvaluateOptions
) -> list[Metric]:
    """Return the metrics of the examples' kind, the official one first.

    Args:
        examples: n examples.
        predictions: Their n predictions, in the form of `PredictionOutput`.
        options: Only `null_threshold` and `stem` are used.
    """
    return METRICS[examples.kind](examples, predictions, options)


def best_thresholds(examples: Examples, predictions: Predictions) -> dict[str, float] | None:
    """Find the best no-answer thresholds of SQuAD 2.0 in hindsight; None if there are no odds.

    Returns:
        `best_exact`, `best_exact_thresh`, `best_f1` and `best_f1_thresh`, as the official evaluator
        calls them, scores in [0, 1].
    """
    if not examples.squad_v2 or any(each["null_odds"] is None for each in predictions):
        return None
    answers = [each["answer"] for each in predictions]
    result: dict[str, float] = {}
    for name, scores in zip(("exact", "f1"), _squad_scores(examples, answers), strict=True):
        best, threshold = best_threshold(
            scores,
            [bool(answer) for answer in answers],
            [bool(target) for target in examples.targets],
            [each["null_odds"] for each in predictions],
        )
        result |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
    return result


def agreement(
    examples: Examples, predictions: Sequence[Predictions], options: EvaluateOptions
) -> float | None:
    """Return the proportion of examples (for tagging, of words) with the same prediction twice.

    None where predictions are numbers or long texts, which are hardly ever the same.
    """
    first, second = predictions
    if examples.kind in ("regression", "similarity", "fill-mask", "summarization"):
        return None
    if examples.kind == "question-answering":
        first, second = (
            [None if text is None else normalize_answer(text) for text in texts]
            for texts in (_final_answers(examples, each, options) for each in (first, second))
        )
    if examples.kind == "multi-label":
        first, second = ([set(labels) for labels in each] for each in (first, second))
    if examples.kind == "token-classification":
        first, second = ([tag for tags in each for tag in tags] for each in (first, second))
    return float(np.mean([one == other for one, other in zip(first, second, strict=True)]))


def _similarity(examples: Examples, predictions: Predictions, _: EvaluateOptions) -> list[Metric]:
    # A cosine and a rating are on different scales: only their correlation matters.
    columns = ([[number] for number in each] for each in (predictions, examples.targets))
    return sorted(regression(*columns)[:2], key=lambda metric: metric.name != "spearman")


def _squad(examples: Examples, predictions: Predictions, options: EvaluateOptions) -> list[Metric]:
    exact, f1 = _squad_scores(examples, _final_answers(examples, predictions, options))
    metrics = [proportion_metric("exact", exact), mean_metric("f1", f1)]
    if not examples.squad_v2:
        return metrics
    has_answer = np.array([bool(target) for target in examples.targets])
    for prefix, subset in (("HasAns", has_answer), ("NoAns", ~has_answer)):
        if subset.any():
            parts = (("exact", exact), ("f1", f1))
            metrics += [_subset_mean(f"{prefix}_{part}", scores, subset) for part, scores in parts]
    return metrics


def _subset_mean(name: str, scores: Sequence[float], subset: Any) -> Metric:
    return metric_from_sums(
        name,
        [np.asarray(scores) * subset, subset],
        lambda sums: float(sums[0] / sums[1]) if sums[1] else math.nan,
    )


def _squad_scores(
    examples: Examples, answers: Sequence[str | None]
) -> tuple[list[float], list[float]]:
    """Return the exact match and the F1 of each answer, n numbers in [0, 1]."""
    exact, f1 = [], []
    for answer, target in zip(answers, examples.targets, strict=True):
        texts = references(target, squad_v2=examples.squad_v2)
        exact.append(float(answer is not None and exact_score(answer, texts)))
        f1.append(0.0 if answer is None else f1_score(answer, texts, squad_v2=examples.squad_v2))
    return exact, f1


def _final_answers(
    examples: Examples, predictions: Predictions, options: EvaluateOptions
) -> list[str | None]:
    """Return the answers, "" where the odds of no answer exceed the threshold."""
    if not examples.squad_v2:
        return [each["answer"] for each in predictions]
    return [
        ""
        if each["null_odds"] is not None and each["null_odds"] > options.null_threshold
        else each["answer"]
        for each in predictions
    ]


def _perplexity(examples: Examples, predictions: Predictions, _: EvaluateOptions) -> list[Metric]:
    """Return the pseudo-perplexity, and how often the masked token is the most probable.

    Salazar et al. 2020 (arXiv:1910.14659): every token is masked on its own; the result is the
    exponential of minus the mean log probability over all tokens of all texts.
    """
    logs = [sum(each["log_probabilities"]) for each in predictions]
    counts = [len(each["log_probabilities"]) for each in predictions]
    hits = [each["hits"] for each in predictions]
    perplexity = metric_from_sums(
        "perplexity",
        [logs, counts],
        lambda sums: math.exp(min(-sums[0] / sums[1], 700)),  # JSON has no infinity
    )
    return [
        replace(perplexity, is_percentage=False),
        metric_from_sums("accuracy", [hits, counts], lambda sums: float(sums[0] / sums[1])),
    ]


def _rouge(examples: Examples, predictions: Predictions, options: EvaluateOptions) -> list[Metric]:
    stemmer = porter_stemmer() if options.stem else None
    scores = [
        rouge(summary, texts, stemmer=stemmer)
        for summary, texts in zip(predictions, examples.targets, strict=True)
    ]
    return [mean_metric(name, [getattr(score, name) for score in scores]) for name in Rouge._fields]


# The metrics by the kind of the examples.
METRICS: dict[str, Callable[[Examples, Predictions, EvaluateOptions], list[Metric]]] = {
    "classification": lambda e, predictions, _: classification(predictions, e.targets, e.labels),
    "multi-label": lambda e, predictions, _: multi_label(predictions, e.targets, e.labels),
    "regression": lambda e, predictions, _: regression(predictions, e.targets),
    "sentence-order": lambda e, predictions, _: classification(predictions, e.targets, e.labels),
    "similarity": _similarity,
    "token-classification": lambda e, predictions, _: token_classification(predictions, e.targets),
    "question-answering": _squad,
    "summarization": _rouge,
    "fill-mask": _perplexity,
}
