"""Read and write files of predictions, so that they can be scored again without the model."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_edge.datasets import KINDS, Examples, read_text
from albert_edge.errors import InputError
from albert_edge.evaluation.predict import PredictionOutput
from albert_edge.files import check_writable, dump_json, parse_json, write_file

_UNANSWERED = {"answer": None, "null_odds": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPredictions:
    """A file of predictions.

    Attributes:
        path: The file.
        kind: The kind of the examples, one of `KINDS`.
        labels: The model's labels.
        predictions: By the id of the example.
    """

    path: Path
    kind: str
    labels: tuple[str, ...]
    predictions: Mapping[str, Any]


def check_savable(path: Path, examples: Examples, *, force: bool) -> None:
    """Check, before the model runs, that its predictions can be saved.

    Raises:
        OutputError: A file exists and `force` is false, or is not writable.
        InputError: The name does not end in .json, which marks such files, or an id repeats.
    """
    if path.suffix != ".json":
        raise InputError(f"predictions are saved as JSON: {path} must end in .json.")
    _check_distinct(examples)
    check_writable(path, force=force)
    if examples.squad_v2:
        check_writable(_odds_path(path), force=force)


def write_predictions(
    path: Path, examples: Examples, predictions: Sequence[Any], *, force: bool
) -> None:
    """Save the predictions of examples.

    For `question-answering` the form is that of SQuAD's official evaluators, answers by id, and for
    SQuAD 2.0 beside `a.json` also `a.null_odds.json`, the file that its evaluator calls
    na-prob-file; otherwise it is an object of `kind`, `labels` and `predictions`.

    Raises:
        OutputError: A file exists and `force` is false, or it cannot be written.
    """
    by_id = dict(zip(examples.ids, predictions, strict=True))
    if examples.kind != "question-answering":
        labels = list(examples.labels)
        _write(path, {"kind": examples.kind, "labels": labels, "predictions": by_id}, force)
        return
    _write(path, {name: each["answer"] for name, each in by_id.items()}, force)
    if examples.squad_v2:
        _write(_odds_path(path), {name: each["null_odds"] for name, each in by_id.items()}, force)


def read_predictions(path: Path) -> SavedPredictions:
    """Read a file of `write_predictions`, or one for SQuAD's official evaluators.

    Raises:
        InputError: A file cannot be read, or has another form.
    """
    values = parse_json(read_text(path), where=str(path), error=InputError)
    kind, labels, predictions = (values.get(key) for key in ("kind", "labels", "predictions"))
    if kind is None or not isinstance(predictions, dict):
        return _read_squad(path, values)
    if kind not in KINDS:
        raise InputError(f"{path}: unknown kind {kind!r}; known are {', '.join(KINDS)}.")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{path}: labels must be a list of texts, not {str(labels)[:60]!r}.")
    for name, value in predictions.items():
        if not _VALIDATORS[kind](value, labels):
            raise InputError(
                f"{path}: the prediction of example {name!r} is invalid for {kind}: "
                f"{str(value)[:60]!r}."
            )
    return SavedPredictions(path=path, kind=kind, labels=tuple(labels), predictions=predictions)


def select(saved: SavedPredictions, examples: Examples) -> PredictionOutput:
    """Return the predictions for `examples`, in their order.

    A question without a prediction gets the answer None, which is wrong, as in SQuAD 1.1's official
    evaluator.  Another example without one is left out if `examples.skip_bad`.

    Raises:
        InputError: The predictions are for other examples, or the examples' ids are not distinct.
    """
    _check_distinct(examples)
    missing = [name for name in examples.ids if name not in saved.predictions]
    question = examples.kind == "question-answering"
    if len(missing) == len(examples) or (missing and not question and not examples.skip_bad):
        raise InputError(
            f"{saved.path} has no prediction for {len(missing)} of {len(examples)} examples, such "
            f"as {missing[0]!r}; give predictions for the same data."
        )
    predictions = [saved.predictions.get(name, _UNANSWERED) for name in examples.ids]
    if examples.kind in ("token-classification", "regression"):
        for place, got, target in zip(examples.places, predictions, examples.targets, strict=True):
            if got is not _UNANSWERED and len(got) != len(target):
                raise InputError(
                    f"{saved.path} has {len(got)} values for {place}, which needs {len(target)}."
                )
    if missing and not question:
        bad = {
            index: f"{place}: {saved.path} has no prediction for it."
            for index, (place, name) in enumerate(zip(examples.places, examples.ids, strict=True))
            if name not in saved.predictions
        }
        return PredictionOutput(predictions, None, bad=bad)
    return PredictionOutput(predictions, None, len(missing))


def _check_distinct(examples: Examples) -> None:
    # Predictions are saved and compared by id.
    name, times = Counter(examples.ids).most_common(1)[0]
    if times > 1:
        what = "questions" if examples.kind == "question-answering" else "rows"
        raise InputError(
            f"{times} {what} have the id {name[:60]!r}; predictions are saved by id: make the ids "
            "distinct."
        )


def _read_squad(path: Path, answers: Mapping[str, Any]) -> SavedPredictions:
    odds: Mapping[str, Any] = {}
    if (odds_path := _odds_path(path)).exists():
        odds = parse_json(read_text(odds_path), where=str(odds_path), error=InputError)
    for name, answer in answers.items():
        if not isinstance(answer, str):
            raise InputError(
                f"{path} is not a file of predictions: expected the text of an answer under "
                f"{name!r}, got {str(answer)[:60]!r}. Write such a file with --predictions."
            )
        if odds and not _is_number(odds.get(name)):
            raise InputError(f"{odds_path} has no number for {name!r}.")
    predictions = {name: {"answer": a, "null_odds": odds.get(name)} for name, a in answers.items()}
    return SavedPredictions(
        path=path, kind="question-answering", labels=(), predictions=predictions
    )


def _odds_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.null_odds.json")


def _write(path: Path, values: Mapping[str, Any], force: bool) -> None:
    text = dump_json(values, ensure_ascii=False, indent=0)
    write_file(path, f"{text}\n".encode(), force=force)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def _is_list(value: Any, is_item: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(is_item, value))


def _is_fill_mask(value: Any, _: Sequence[str]) -> bool:
    if not isinstance(value, dict) or set(value) != {"log_probabilities", "hits"}:
        return False
    logs, hits = value["log_probabilities"], value["hits"]
    return _is_list(logs, _is_number) and len(logs) > 0 and _is_number(hits)


# Whether a prediction is valid, given the labels, by the examples' kind.
_VALIDATORS: dict[str, Callable[[Any, Sequence[str]], bool]] = {
    "classification": lambda value, labels: value in labels,
    "multi-label": lambda value, labels: _is_list(value, labels.__contains__),
    "regression": lambda value, _: _is_list(value, _is_number),
    "sentence-order": lambda value, labels: value in labels,
    "similarity": lambda value, _: _is_number(value),
    "summarization": lambda value, _: isinstance(value, str),
    "fill-mask": _is_fill_mask,
    "token-classification": lambda value, labels: _is_list(value, [*labels, "O"].__contains__),
    "question-answering": lambda *_: False,  # has a form of its own
}
