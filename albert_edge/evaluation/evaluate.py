"""Score a model on data, or compare two."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from albert_edge import bundle
from albert_edge.errors import InputError
from albert_edge.evaluation.answers import Tell, answer_all
from albert_edge.evaluation.examples import Examples, read_examples
from albert_edge.evaluation.measures import agreement, measure, thresholds
from albert_edge.evaluation.options import EvaluateOptions
from albert_edge.evaluation.predictions import (
    Saved,
    check_savable,
    pick,
    read_predictions,
    write_predictions,
)
from albert_edge.evaluation.scores import differences, figures, resample

__all__ = ["evaluate"]


class _Subject(NamedTuple):
    # A model's file, or its saved answers: what it is for, the kinds of examples that it answers,
    # the labels it knows, and whether it can leave early.
    name: str
    task: str
    kinds: tuple[str, ...]
    labels: tuple[str, ...]
    saved: Saved | None
    leaves: bool = False


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    against: str | Path | None = None,
    options: EvaluateOptions | None = None,
    save: Path | None = None,
    force: bool = False,
    tell: Tell | None = None,
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
        kind = _KINDS_OF_PROBLEMS[inside.config.problem]
        return _Subject(name, kind, (kind,), inside.config.labels, None, bool(inside.early_exit))
    labels = inside.config.labels if inside.task == "token-classification" else ()
    kinds = _KINDS_OF_TASKS.get(inside.task, (inside.task,))
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
    subject: _Subject, examples: Examples, options: EvaluateOptions, tell: Tell | None
) -> tuple[list[Any], dict[str, Any]]:
    began = time.monotonic()
    if subject.saved is None:
        found = answer_all(
            subject.name,
            examples,
            workers=options.cores,
            tell=tell,
            early_exit=options.early_exit,
        )
    else:
        found = pick(subject.saved, examples)
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
            {**model, "metrics": figures(each, part, count)}
            for model, each, part in zip(models, metrics, parts, strict=True)
        ]
    }
    if len(models) == 2:
        report["differences"] = differences(metrics, parts, count)
        report["agreement"] = agreement(examples, answers, options)
    return report


_KINDS_OF_PROBLEMS = {
    "single_label_classification": "classification",
    "multi_label_classification": "multi-label",
    "regression": "regression",
}
_KINDS_OF_TASKS = {
    "feature-extraction": ("similarity",),
    "pretraining": ("fill-mask", "sentence-order"),
}
