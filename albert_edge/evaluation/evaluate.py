"""Score a model on data, or compare two."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from albert_edge.bundle import bundle
from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError
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
from albert_edge.evaluation.predict import ProgressCallback, predict_all
from albert_edge.evaluation.predictions import (
    SavedPredictions,
    check_savable,
    read_predictions,
    select,
    write_predictions,
)
from albert_edge.evaluation.task_metrics import agreement, measure, thresholds
from albert_edge.tasks import TASKS

__all__ = ["differences", "evaluate", "resample", "score_metrics"]


class _Subject(NamedTuple):
    # A model's file, or its saved answers: what it is for, the kinds of examples that it answers,
    # the labels it knows, and whether it can leave early.
    name: str
    task: str
    kinds: tuple[str, ...]
    labels: tuple[str, ...]
    saved: SavedPredictions | None
    leaves: bool = False


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    against: str | Path | None = None,
    options: EvaluateOptions | None = None,
    save: Path | None = None,
    force: bool = False,
    tell: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Ask a model all examples of a data file, and score its answers.

    Args:
        model: A `.tflite` file, "default" for the embedded model, or a `.json` file of predictions
            that was saved here or made for SQuAD's official evaluators.
        data: The examples: a table (`.tsv`, `.csv`, `.jsonl`), SQuAD's JSON, CoNLL's columns, or
            plain text for masked words.
        against: Another model, or its predictions, to compare with on the same examples.
        options: How to read and score.
        save: Where to write the model's answers; see `write_predictions`.
        force: Whether that file may be replaced.
        tell: Called after every answer, with how many there are and are to be.

    Returns:
        A report ready for JSON: `data`, `kind`, `examples`, and `models`, one or two, each with
        its `model`, `metrics` (see `figures`), `thresholds` (of SQuAD 2.0 with odds), `truncated`
        texts, `unanswered` questions, `duration_s` and `workers` (None of saved answers), and of
        files that can leave early the mean of `layers_used`.  With
        `against` also `differences` (see the function) and `agreement`, the share of same answers.

    Raises:
        BundleError: A model cannot be read.
        InputError: The data or the predictions cannot be read or do not fit the model, or the two
            models cannot be compared.
        OutputError: `save` exists and `force` is false, or cannot be written.
    """
    options = options or EvaluateOptions()
    subjects = [_open(source, options) for source in (model, against) if source is not None]
    examples = read_examples(Path(data), subjects[0].task, subjects[0].labels, options)
    _check_comparable(subjects, examples)
    if options.early_exit and not any(subject.leaves for subject in subjects):
        names = " and ".join(options.early_exit)
        raise InputError(f"{names}: {subjects[0].name} makes all passes and cannot leave early.")
    if save is not None:
        check_savable(save, examples, force=force)
    asked = [_asked(subject, examples, options, tell) for subject in subjects]
    answers, models = [predictions for predictions, _ in asked], [model for _, model in asked]
    if examples.kind == "fill-mask":
        _check_same_tokens(answers)
    if save is not None:
        write_predictions(save, examples, answers[0], force=force)
    report = {"data": str(data), "kind": examples.kind, "examples": len(examples)}
    return report | _scored(examples, answers, models, options)


def _open(source: str | Path, options: EvaluateOptions) -> _Subject:
    name = str(source)
    if Path(source).suffix == ".json":
        saved = read_predictions(Path(source))
        return _Subject(name, saved.kind, (saved.kind,), saved.labels, saved)
    if options.task == "summarize":
        return _Subject(name, "summarization", ("summarization",), (), None)
    inside = bundle.read(source)
    if inside.task == "classification":
        config = inside.config
        return _Subject(
            name, config.kind, (config.kind,), config.labels, None, bool(inside.early_exit)
        )
    labels = inside.config.labels if TASKS[inside.task].has_labels else ()
    kinds = TASKS[inside.task].examples
    return _Subject(name, kinds[0] if len(kinds) == 1 else inside.task, kinds, labels, None)


def _check_comparable(subjects: Sequence[_Subject], examples: Examples) -> None:
    for subject in subjects:
        if examples.kind not in subject.kinds:
            raise InputError(
                f"{subject.name} is for {subject.task}; it cannot be compared on examples of "
                f"{examples.kind}."
            )
    first, last = (subject.labels or examples.labels for subject in (subjects[0], subjects[-1]))
    # Numbers have their labels by the order; labels that are said may be in any.
    if first != last if examples.kind == "regression" else set(first) != set(last):
        raise InputError(
            f"{subjects[0].name} and {subjects[-1].name} cannot be compared: one knows the labels "
            f"{', '.join(first)}, the other {', '.join(last)}."
        )


def _check_same_tokens(answers: Sequence[Sequence[Any]]) -> None:
    counts = [[len(one["log_probabilities"]) for one in each] for each in answers]
    if counts[0] != counts[-1]:
        raise InputError(
            "the two models cut the texts into different tokens: perplexities can only be compared "
            "of models with the same tokenizer."
        )


def _asked(
    subject: _Subject, examples: Examples, options: EvaluateOptions, tell: ProgressCallback | None
) -> tuple[list[Any], dict[str, Any]]:
    began = time.monotonic()
    if subject.saved is None:
        found = predict_all(
            subject.name,
            examples,
            workers=options.cores,
            tell=tell,
            early_exit=options.early_exit,
        )
    else:
        found = select(subject.saved, examples)
    asked = subject.saved is None
    return found.predictions, {
        "model": subject.name,
        "truncated": found.truncated,
        "unanswered": found.unanswered,
        "duration_s": round(time.monotonic() - began, 3) if asked else None,
        "workers": options.cores if asked else None,
        "thresholds": thresholds(examples, found.predictions),
        **({"layers_used": fmean(found.layers_used)} if found.layers_used else {}),
    }


def _scored(
    examples: Examples,
    answers: Sequence[Sequence[Any]],
    models: Sequence[dict[str, Any]],
    options: EvaluateOptions,
) -> dict[str, Any]:
    count = len(examples)
    metrics = [measure(examples, each, options) for each in answers]
    samples = resample([metric for each in metrics for metric in each], count)
    parts = samples.reshape(len(models), -1, samples.shape[1])  # [models, M, 2000]
    report: dict[str, Any] = {
        "models": [
            {**model, "metrics": score_metrics(each, part, count)}
            for model, each, part in zip(models, metrics, parts, strict=True)
        ]
    }
    if len(models) == 2:
        report["differences"] = differences(metrics, parts, count)
        report["agreement"] = agreement(examples, answers, options)
    return report


# Metrics with their intervals, and the differences between two models' metrics.


def resample(metrics: Sequence[Metric], count: int) -> Floats:
    """Compute all metrics, of any number of models, of the same samples of `count` examples.

    Returns:
        float64 [M, 2000].
    """
    samples: Floats = bootstrap([metric.statistic for metric in metrics], count).T
    return samples


def score_metrics(
    metrics: Sequence[Metric], samples: Floats, count: int
) -> dict[str, dict[str, Any]]:
    """Return each metric's value and its 95% interval.

    A share of right answers has Wilson's interval, another figure that of the bootstrap.

    Args:
        metrics: M metrics.
        samples: What `resample` made of them, [M, 2000].
        count: The number of examples.

    Returns:
        By the metric's name: `value`, `low`, `high` (None where undefined), `share` (whether it is
        one) and the interval's `method`.
    """
    return {
        metric.name: _figure(metric, row, count)
        for metric, row in zip(metrics, samples, strict=True)
    }


def differences(
    metrics: Sequence[Sequence[Metric]], samples: Floats, count: int
) -> dict[str, dict[str, Any]]:
    """Return how much each of the second model's metrics exceeds the first's, and by what chance.

    Args:
        metrics: M metrics of one model, and the same of another one, on the same examples.
        samples: What `resample` made of all, [2, M, 2000].
        count: The number of examples.

    Returns:
        By the metric's name: `value`, its 95% interval `low` and `high`, `p_value`, `share`, and
        the `test`: McNemar's exact one of right and wrong answers, otherwise the paired bootstrap.
    """
    rows = zip(*metrics, samples[1] - samples[0], strict=True)
    return {one.name: _difference(one, other, row, count) for one, other, row in rows}


def _figure(metric: Metric, samples: Floats, count: int) -> dict[str, Any]:
    if metric.right is None:
        (low, high), method = percentile_interval(samples), "bootstrap"
    else:
        (low, high), method = wilson(int(metric.right.sum()), count), "wilson"
    value = metric.statistic(np.ones(count))
    return {**_known(value=value, low=low, high=high), "share": metric.share, "method": method}


def _difference(first: Metric, second: Metric, samples: Floats, count: int) -> dict[str, Any]:
    every = np.ones(count)
    value = second.statistic(every) - first.statistic(every)
    if first.right is None or second.right is None:
        low, high = percentile_interval(samples)
        p_value, test = bootstrap_p_value(value, samples), "bootstrap"
    else:
        lost = int((first.right & ~second.right).sum())
        won = int((second.right & ~first.right).sum())
        low, high = paired_interval(lost, won, count)
        p_value, test = mcnemar(lost, won), "mcnemar"
    known = _known(value=value, low=low, high=high, p_value=p_value)
    return {**known, "share": first.share, "test": test}


def _known(**values: float) -> dict[str, float | None]:
    # JSON has no NaN.
    return {name: None if math.isnan(value) else value for name, value in values.items()}
