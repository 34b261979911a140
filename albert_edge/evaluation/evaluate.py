"""Score a model's predictions on a data file, or compare those of two models.

Every metric has a 95% interval.  Two models are compared on the same examples, and the difference
of each metric has an interval and a p-value.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from albert_edge.bundle import bundle
from albert_edge.datasets import EvaluateOptions, Examples, read_examples
from albert_edge.errors import InputError, list_choices
from albert_edge.evaluation.intervals import (
    Floats,
    bootstrap,
    bootstrap_p_value,
    mcnemar,
    paired_interval,
    percentile_interval,
    wilson,
)
from albert_edge.evaluation.metrics import Metric
from albert_edge.evaluation.predict import PredictionOutput, ProgressCallback, predict_all
from albert_edge.evaluation.predictions import (
    SavedPredictions,
    check_savable,
    read_predictions,
    select,
    write_predictions,
)
from albert_edge.evaluation.task_metrics import agreement, best_thresholds, compute_metrics
from albert_edge.tasks import TASKS

__all__ = ["evaluate", "score_predictions"]


class _Model(NamedTuple):
    # A model's file, or its saved predictions: its task, the kinds of examples that it supports,
    # its labels, and whether it has early exit.
    name: str
    task: str
    kinds: tuple[str, ...]
    labels: tuple[str, ...]
    saved: SavedPredictions | None
    early_exit: bool = False


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    against: str | Path | None = None,
    options: EvaluateOptions | None = None,
    save: Path | None = None,
    force: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Score a model on the examples of a data file.

    Args:
        model: A `.tflite` file, the name of an embedded model, or a `.json` file of predictions
            that was saved here or made for SQuAD's official evaluators.
        data: The examples: a table (`.tsv`, `.csv`, `.jsonl`), SQuAD's JSON, CoNLL's columns, or
            plain text for masked words.
        against: Another model, or its predictions, to compare with on the same examples.
        options: How to read and score.
        save: Where to write the model's predictions; see `write_predictions`.
        force: Whether that file may be replaced.
        progress: Called after every prediction, with the number of examples done and of all.

    Returns:
        A report ready for JSON: `data`, `kind`, `examples`, `skipped` (the number of examples that
        were left out, where the options allow it), `skipped_examples` (the errors of the first of
        them), and `models`, one or two, each with its
        `model`, `metrics` (see `score_metrics`), `thresholds` (of SQuAD 2.0 with odds), `truncated`
        texts, `unanswered` questions, `duration_s` and `workers` (None of saved predictions), and
        of files with early exit the mean of `layers_used`, and on a GPU its `acceleration`.  With
        `against` also `differences` (see the function) and `agreement`, the proportion of equal
        predictions.

    Raises:
        BundleError: A model cannot be read.
        InputError: The data or the predictions cannot be read or do not fit the model, or the two
            models cannot be compared.
        OutputError: `save` exists and `force` is false, or cannot be written.
    """
    options = options or EvaluateOptions()
    models = [_open(source, options) for source in (model, against) if source is not None]
    examples = read_examples(Path(data), models[0].task, models[0].labels, options)
    _check_comparable(models, examples)
    if options.early_exit and not any(each.early_exit for each in models):
        names = " and ".join(options.early_exit)
        raise InputError(f"{names}: {models[0].name} runs all passes; it has no early exit.")
    if options.accelerator != "cpu" and all(each.saved for each in models):
        raise InputError(f"{models[0].name} holds predictions, which no accelerator has to run.")
    if save is not None:
        check_savable(save, examples, force=force)
    outputs = [_predict(each, examples, options, progress) for each in models]
    # All models are scored on the same examples.
    if bad := {index: error for output, _ in outputs for index, error in output.bad.items()}:
        kept = [index for index in range(len(examples)) if index not in bad]
        examples = examples.without(bad)
        predictions = [[output.predictions[index] for index in kept] for output, _ in outputs]
    else:
        predictions = [output.predictions for output, _ in outputs]
    entries = [
        {**entry, "thresholds": best_thresholds(examples, each)}
        for (_, entry), each in zip(outputs, predictions, strict=True)
    ]
    if examples.kind == "fill-mask":
        _check_same_tokens(predictions)
    if save is not None:
        write_predictions(save, examples, predictions[0], force=force)
    report = {
        "data": str(data),
        "kind": examples.kind,
        "examples": len(examples),
        "skipped": len(examples.skipped),
        "skipped_examples": list(examples.skipped[:10]),
    }
    return report | score_predictions(examples, predictions, entries, options)


def score_metrics(
    metrics: Sequence[Metric], samples: Floats, count: int
) -> dict[str, dict[str, Any]]:
    """Return each metric's value and its 95% interval.

    The interval is Wilson's for a proportion of correct predictions, otherwise the bootstrap's.

    Args:
        metrics: M metrics.
        samples: The metrics on `bootstrap` samples, float64 [M, 2000].
        count: The number of examples.

    Returns:
        By the metric's name: `value`, `low`, `high` (None where undefined), `share` (whether it is
        a percentage) and the interval's `method`.
    """
    rows = zip(metrics, samples, strict=True)
    return {metric.name: _metric_entry(metric, row, count) for metric, row in rows}


def differences(
    metrics: Sequence[Sequence[Metric]], samples: Floats, count: int
) -> dict[str, dict[str, Any]]:
    """Return the difference of each metric of two models, its 95% interval and its p-value.

    Args:
        metrics: M metrics of the first model and of the second, on the same examples.
        samples: All metrics on `bootstrap` samples, float64 [2, M, 2000].
        count: The number of examples.

    Returns:
        By the metric's name: `value`, the second less the first, the interval's `low` and `high`,
        `p_value`, `share`, and the `test`: McNemar's exact one for a proportion of correct
        predictions, otherwise the paired bootstrap.
    """
    rows = zip(*metrics, samples[1] - samples[0], strict=True)
    return {first.name: _difference_entry(first, second, row, count) for first, second, row in rows}


def _open(source: str | Path, options: EvaluateOptions) -> _Model:
    name = str(source)
    if Path(source).suffix == ".json":
        saved = read_predictions(Path(source))
        return _Model(name, saved.kind, (saved.kind,), saved.labels, saved)
    if options.task == "summarize":
        return _Model(name, "summarization", ("summarization",), (), None)
    metadata = bundle.read(source)
    config, exits = metadata.config, metadata.early_exit is not None
    if metadata.task == "classification":
        return _Model(name, config.kind, (config.kind,), config.labels, None, exits)
    labels = config.labels if TASKS[metadata.task].has_labels else ()
    kinds = TASKS[metadata.task].examples
    task = kinds[0] if len(kinds) == 1 else metadata.task
    return _Model(name, task, kinds, labels, None, exits)


def _check_comparable(models: Sequence[_Model], examples: Examples) -> None:
    for model in models:
        if examples.kind not in model.kinds:
            raise InputError(
                f"{model.name} is for {model.task}; it cannot be compared on examples of "
                f"{examples.kind}."
            )
    first, last = (model.labels or examples.labels for model in (models[0], models[-1]))
    # Numbers correspond to their labels by the order; predicted labels may be in any.
    if first != last if examples.kind == "regression" else set(first) != set(last):
        raise InputError(
            f"{models[0].name} and {models[-1].name} cannot be compared: one has the labels "
            f"{list_choices(first)}, the other {list_choices(last)}."
        )


def _check_same_tokens(predictions: Sequence[Sequence[Any]]) -> None:
    counts = [[len(text["log_probabilities"]) for text in texts] for texts in predictions]
    if counts[0] != counts[-1]:
        raise InputError(
            "the two models split the texts into different tokens: perplexity can only be compared "
            "between models with the same tokenizer."
        )


def _predict(
    model: _Model, examples: Examples, options: EvaluateOptions, progress: ProgressCallback | None
) -> tuple[PredictionOutput, dict[str, Any]]:
    """Return the predictions of a model, and its entry in the report but for what is scored."""
    began = time.monotonic()
    if model.saved is None:
        output = predict_all(
            model.name,
            examples,
            workers=options.cores,
            accelerator=options.accelerator,
            progress=progress,
            early_exit=options.early_exit,
        )
    else:
        output = select(model.saved, examples)
    return output, {
        "model": model.name,
        "truncated": output.truncated,
        "unanswered": output.unanswered,
        "duration_s": None if model.saved else round(time.monotonic() - began, 3),
        "workers": None if model.saved else options.cores,
        **({"layers_used": fmean(output.layers_used)} if output.layers_used else {}),
        **({"acceleration": output.acceleration} if output.acceleration else {}),
    }


def score_predictions(
    examples: Examples,
    predictions: Sequence[Sequence[Any]],
    entries: Sequence[dict[str, Any]],
    options: EvaluateOptions,
) -> dict[str, Any]:
    """Return the part of the report of `evaluate` that follows from predictions.

    Args:
        examples: The examples.
        predictions: Those of one model or of two.
        entries: What the report says of each model already.
        options: How to score.

    Returns:
        `models`, the entries with their `metrics`; of two also `differences` and `agreement`.
    """
    count = len(examples)
    metrics = [compute_metrics(examples, each, options) for each in predictions]
    # All metrics of all models on the same samples: their differences are paired.
    samples = bootstrap([metric.statistic for each in metrics for metric in each], count)
    parts = samples.reshape(len(entries), -1, samples.shape[1])  # [models, M, 2000]
    report: dict[str, Any] = {
        "models": [
            {**entry, "metrics": score_metrics(each, part, count)}
            for entry, each, part in zip(entries, metrics, parts, strict=True)
        ]
    }
    if len(entries) == 2:
        report["differences"] = differences(metrics, parts, count)
        report["agreement"] = agreement(examples, predictions, options)
    return report


def _metric_entry(metric: Metric, samples: Floats, count: int) -> dict[str, Any]:
    if metric.correct is None:
        (low, high), method = percentile_interval(samples), "bootstrap"
    else:
        (low, high), method = wilson(int(metric.correct.sum()), count), "wilson"
    numbers = _without_nan(value=metric.statistic(np.ones(count)), low=low, high=high)
    return {**numbers, "share": metric.is_percentage, "method": method}


def _difference_entry(first: Metric, second: Metric, samples: Floats, count: int) -> dict[str, Any]:
    ones = np.ones(count)
    value = second.statistic(ones) - first.statistic(ones)
    if first.correct is None or second.correct is None:
        low, high = percentile_interval(samples)
        p_value, test = bootstrap_p_value(value, samples), "bootstrap"
    else:
        only_first = int((first.correct & ~second.correct).sum())
        only_second = int((second.correct & ~first.correct).sum())
        low, high = paired_interval(only_first, only_second, count)
        p_value, test = mcnemar(only_first, only_second), "mcnemar"
    numbers = _without_nan(value=value, low=low, high=high, p_value=p_value)
    return {**numbers, "share": first.is_percentage, "test": test}


def _without_nan(**values: float) -> dict[str, float | None]:
    # JSON has no NaN.
    return {name: None if math.isnan(value) else value for name, value in values.items()}
