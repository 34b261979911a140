"""What a model is asked, and what it ought to say: data files to examples, by kind of task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from albert_edge.datasets.conll import read_conll
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.datasets.squad import read_squad
from albert_edge.datasets.tables import TableRow, read_table, read_text
from albert_edge.errors import InputError
from albert_edge.pipelines.sentence_order import ORDER_LABELS

__all__ = ["KINDS", "Examples", "find_labels", "read_examples"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """n examples of one kind.

    Attributes:
        kind: One of `KINDS`.
        ids: What each is called in a file of predictions; all distinct.
        places: What each is called in a message: `reviews.tsv, line 7`.
        inputs: What the model is given: the texts by name; for `token-classification` `words`; for
            `summarization` how many `bullets`, and the `text`, whole or as a list of its sentences,
            unless only saved summaries are to be scored.
        targets: What it ought to say: a label; for `multi-label` a list of labels; for
            `regression` a list of numbers; for `similarity` a number; for `token-classification`
            the words' labels; for `question-answering` and `summarization` texts of which one is
            enough (no text, if a question has no answer); for `fill-mask` None.
        labels: The labels that there are.
        squad_v2: Whether SQuAD 2.0's rules hold.
    """

    kind: str
    ids: Sequence[str]
    places: Sequence[str]
    inputs: Sequence[dict[str, Any]]
    targets: Sequence[Any]
    labels: tuple[str, ...] = ()
    squad_v2: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int | None) -> Examples:
        """Return the first `count` examples; None for all."""
        return replace(
            self,
            ids=self.ids[:count],
            places=self.places[:count],
            inputs=self.inputs[:count],
            targets=self.targets[:count],
        )


def read_examples(
    path: Path, kind: str, labels: tuple[str, ...], options: EvaluateOptions
) -> Examples:
    """Read the examples of a data file.

    Args:
        path: The file, in a form that fits the kind.
        kind: One of `KINDS`, or `pretraining`: then a file with labels is of `sentence-order`, and
            another one of `fill-mask`.
        labels: The labels, or the names of the numbers, that the model knows.
        options: How the columns are called, and how many examples to take.

    Raises:
        InputError: The file cannot be read, does not fit the kind, or holds a row, a label or an
            id that cannot be.
    """
    if kind == "question-answering":
        _check_form(path, kind, (".json",), "SQuAD's JSON")
        found = _questions(path)
    elif kind == "token-classification":
        _check_form(path, kind, _CONLL, "CoNLL's form")
        found = _sentences(path, labels)
    else:
        found = _rows(path, kind, labels, options)
    return found.first(options.limit)


def find_labels(path: Path, kind: str, options: EvaluateOptions) -> tuple[str, ...]:
    """Find the labels that a data file of a kind with labels uses.

    Returns:
        The distinct ones: numbers first, by their size, and `O` before other labels of words; of
        `regression` as many names as there are numbers, the first being that of the column.

    Raises:
        InputError: The file cannot be read or does not fit the kind.
    """
    if kind == "token-classification":
        _check_form(path, kind, _CONLL, "CoNLL's form")
        found = {label for sentence in read_conll(path) for label in sentence.labels}
        return tuple(sorted(found, key=lambda label: (label != "O", label)))
    _check_form(path, kind, _TABLES, "a table")
    values = [row.values["label"] for row in _columns(path, kind, options)]
    if kind == "regression":
        name, first = options.label_column or "label", _split(values[0])
        return tuple(f"{name}_{at}" for at in range(len(first))) if len(first) > 1 else (name,)
    several = kind == "multi-label"
    names = {str(one).strip() for each in values for one in (_split(each) if several else [each])}
    return tuple(sorted(names - {""}, key=_by_number))


def _by_number(label: str) -> tuple[bool, int, str]:
    whole = label.isdecimal()
    return not whole, int(label) if whole else 0, label


def _check_form(path: Path, kind: str, suffixes: Sequence[str], form: str) -> None:
    if path.suffix not in suffixes:
        raise InputError(
            f"{path} does not fit: {kind} is evaluated on {form} "
            f"(a file that ends in {', '.join(suffixes)})."
        )


def _questions(path: Path) -> Examples:
    questions, squad_v2 = read_squad(path)
    return Examples(
        kind="question-answering",
        ids=[question.id for question in questions],
        places=[f"{path}, question {question.id}" for question in questions],
        inputs=[{"question": q.question, "context": q.context} for q in questions],
        targets=[question.answers for question in questions],
        squad_v2=squad_v2,
    )


def _sentences(path: Path, labels: tuple[str, ...]) -> Examples:
    sentences = read_conll(path)
    for sentence in sentences:
        for line, label in enumerate(sentence.labels, sentence.line):
            if label not in labels:
                raise _unknown(label, labels, f"{path}, line {line}")
    return Examples(
        kind="token-classification",
        ids=[str(number) for number in range(1, len(sentences) + 1)],
        places=[f"{path}, line {sentence.line}" for sentence in sentences],
        inputs=[{"words": sentence.words} for sentence in sentences],
        targets=[sentence.labels for sentence in sentences],
        labels=labels,
    )


def _rows(path: Path, kind: str, labels: tuple[str, ...], options: EvaluateOptions) -> Examples:
    suffixes = (*_TABLES, *((".txt",) if kind in _ON_TEXT else ()))
    _check_form(path, kind, suffixes, "a table")
    rows = _lines(path) if path.suffix == ".txt" else _columns(path, kind, options)
    if kind == "pretraining":
        kind = "sentence-order" if "label" in rows[0].values else "fill-mask"
    labels = ORDER_LABELS if kind == "sentence-order" else labels
    places = [f"{path}, line {row.line}" for row in rows]
    ids = [str(row.values.get("id", number)) for number, row in enumerate(rows, 1)]
    name, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise InputError(f"{path}: {times} rows have the id {name!r}.")
    return Examples(
        kind=kind,
        ids=ids,
        places=places,
        inputs=[_texts(row, kind, place, options) for row, place in zip(rows, places, strict=True)],
        targets=[
            _TARGETS[kind](row.values.get("label"), labels, place)
            for row, place in zip(rows, places, strict=True)
        ],
        labels=labels,
    )


def _lines(path: Path) -> list[TableRow]:
    lines = enumerate(read_text(path).split("\n"), 1)
    rows = [TableRow(number, {"text": line.strip()}) for number, line in lines if line.strip()]
    if not rows:
        raise InputError(f"{path} holds no text; give one text a line.")
    return rows


def _columns(path: Path, kind: str, options: EvaluateOptions) -> list[TableRow]:
    # Those of summaries are also called as in SciTLDR (Cachola et al. 2020, arXiv:2004.15011).
    summary = kind == "summarization"
    texts, labels = (["source"], ["summary", "target"]) if summary else (["sentence"], ["label"])
    columns: dict[str, Sequence[str]] = {
        "text": [options.text_column] if options.text_column else ["text", *texts],
        "pair": [options.pair_column],
        "label": [options.label_column] if options.label_column else labels,
        "id": ["id"],
    }
    needed = {"text", "label"} | ({"pair"} if kind in _ON_PAIRS else set())
    if summary:
        needed = {"label"}
    elif kind in _ON_TEXT:
        needed = {"text"}
    return read_table(path, columns, optional=[name for name in columns if name not in needed])


def _texts(row: TableRow, kind: str, place: str, options: EvaluateOptions) -> dict[str, Any]:
    if kind == "summarization":
        article = {"text": _article(row.values["text"], place)} if "text" in row.values else {}
        return {**article, "bullets": options.bullets}
    names = ("text",) if kind == "fill-mask" else ("text", "pair")
    texts = {name: row.values[name] for name in names if name in row.values}
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            what = "text" if name == "text" else "second text"
            raise InputError(f"{place}: the {what} is blank.")
    if kind in _ON_PAIRS and len(texts) < 2:
        raise InputError(f"{place}: {kind} needs a second text.")
    return texts


def _article(value: Any, place: str) -> str | list[str]:
    sentences = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in sentences) or not "".join(sentences).strip():
        raise InputError(f"{place}: expected an article, or a list of its sentences.")
    article: str | list[str] = value
    return article


def _label(value: Any, labels: tuple[str, ...], place: str) -> str:
    # A name or its number; a name that is a number is a name.
    if isinstance(value, list):
        raise InputError(f"{place}: expected one label, got {value!r}; several are multi-label.")
    text = str(value).strip()
    names = {str(number): label for number, label in enumerate(labels)}
    names |= {label: label for label in labels}
    if text not in names:
        raise _unknown(text, labels, place)
    return names[text]


def _labels(value: Any, labels: tuple[str, ...], place: str) -> list[str]:
    return [_label(each, labels, place) for each in _split(value) if str(each).strip()]


def _numbers(value: Any, labels: tuple[str, ...], place: str) -> list[float]:
    try:
        numbers = [float(each) for each in _split(value)]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != max(len(labels), 1) or not all(map(math.isfinite, numbers)):
        what = f"{len(labels)} numbers with commas between" if len(labels) > 1 else "a number"
        raise InputError(f"{place}: expected {what}, got {value!r}.")
    return numbers


def _split(value: Any) -> list[Any]:
    return value if isinstance(value, list) else str(value).split(",")


def _summaries(value: Any, _: tuple[str, ...], place: str) -> list[str]:
    given = value if isinstance(value, list) else [value]
    if not given or not all(isinstance(each, str) and each.strip() for each in given):
        raise InputError(f"{place}: expected a summary, or a list of several, got {value!r}.")
    return given


def _unknown(label: str, labels: Sequence[str], place: str) -> InputError:
    return InputError(f"{place}: label {label!r} is none of {', '.join(labels)}.")


_TABLES = (".tsv", ".csv", ".jsonl", ".parquet")
_CONLL = (".conll", ".tsv", ".txt", ".iob", ".iob2", ".bio")
_ON_TEXT = ("fill-mask", "pretraining")
_ON_PAIRS = ("sentence-order", "similarity")
_TARGETS: dict[str, Callable[[Any, tuple[str, ...], str], Any]] = {
    "classification": _label,
    "multi-label": _labels,
    "regression": _numbers,
    "sentence-order": _label,
    "similarity": lambda value, _, place: _numbers(value, (), place)[0],
    "summarization": _summaries,
    "fill-mask": lambda *_: None,
}
KINDS = (*_TARGETS, "token-classification", "question-answering")
