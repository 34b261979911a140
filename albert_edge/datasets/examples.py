"""Data files as examples: the inputs of a model and its targets, by kind of task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from albert_edge.datasets.conll import read_conll
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.datasets.squad import read_squad
from albert_edge.datasets.tables import DataSource, TableRow, read_table, read_text
from albert_edge.errors import InputError
from albert_edge.pipelines.sentence_order import ORDER_LABELS

__all__ = ["KINDS", "DataFile", "Examples", "read_data_file", "read_examples"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """n examples of one kind.

    Attributes:
        kind: One of `KINDS`.
        ids: The name of each in a file of predictions; all distinct.
        places: The name of each in an error message: `reviews.tsv, line 7`.
        inputs: The arguments of the pipeline: the texts by name; for `token-classification`
            `words`; for `summarization` the number of `bullets`, and the `text`, whole or as a list
            of its sentences, unless only saved summaries are to be scored.
        targets: The expected output: a label; for `multi-label` a list of labels; for `regression`
            a list of numbers; for `similarity` a number; for `token-classification` the words'
            labels; for `question-answering` and `summarization` texts, any of which is right (no
            text, if a question has no answer); for `fill-mask` None.
        labels: All labels, in order.
        squad_v2: Whether SQuAD 2.0's rules hold.
        answer_starts: Of `question-answering`, the position of each first answer in its context, in
            code points; None where the file does not give it.
        teacher: The values of the teacher's column, if one was read.
    """

    kind: str
    ids: Sequence[str]
    places: Sequence[str]
    inputs: Sequence[dict[str, Any]]
    targets: Sequence[Any]
    labels: tuple[str, ...] = ()
    squad_v2: bool = False
    answer_starts: Sequence[int | None] = ()
    teacher: Sequence[Any] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int | None) -> Examples:
        """Return the first `count` examples; None for all."""
        names = ("ids", "places", "inputs", "targets", "answer_starts", "teacher")
        return replace(self, **{name: getattr(self, name)[:count] for name in names})

    def class_indices(self) -> np.ndarray:
        """Return the place of each target among the labels, int32 [n], if each is one label."""
        return np.array([self.labels.index(label) for label in self.targets], np.int32)


class DataFile(ABC):
    """A parsed data file: it lists the labels in it, and checks its examples against given ones."""

    limit: int | None = None

    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Return the distinct labels of the file; none if its kind has no labels.

        Numbers come first, by their size, and `O` before other labels of words.  For `regression`
        there is a name for each number, the first being that of the column.
        """

    @final
    def examples(self, labels: tuple[str, ...]) -> Examples:
        """Return the examples, as many as the options allow.

        Args:
            labels: The labels, or the names of the numbers, in the order of the model's.

        Raises:
            InputError: A row, a label or an id is invalid.
        """
        return self._examples(labels).first(self.limit)

    @abstractmethod
    def _examples(self, labels: tuple[str, ...]) -> Examples: ...


def read_data_file(
    source: DataSource, kind: str, options: EvaluateOptions, *, teacher_column: str | None = None
) -> DataFile:
    """Read and parse a data file, once.

    Args:
        source: The file, in a form that fits the kind.
        kind: One of `KINDS`, or `pretraining`: then a file with labels is of `sentence-order`, and
            one without of `fill-mask`.
        options: The names of the columns, and the number of examples to take.
        teacher_column: A further column of a table, which becomes `Examples.teacher`.

    Raises:
        InputError: The file cannot be read or does not fit the kind.
    """
    file: DataFile
    if kind == "question-answering":
        _check_form(source, kind, (".json",), "SQuAD's JSON")
        file = _SquadFile(source)
    elif kind == "token-classification":
        _check_form(source, kind, _CONLL, "CoNLL's form")
        file = _ConllFile(source)
    else:
        _check_form(source, kind, (*_TABLES, *((".txt",) if kind in _ON_TEXT else ())), "a table")
        file = _TableFile(source, kind, options, teacher_column)
    file.limit = options.limit
    return file


def read_examples(
    source: DataSource,
    kind: str,
    labels: tuple[str, ...] | None,
    options: EvaluateOptions | None = None,
    *,
    teacher_column: str | None = None,
) -> Examples:
    """Read the examples of a data file.

    Args:
        source, kind, options, teacher_column: As in `read_data_file`.
        labels: The model's labels, or names of numbers, in order; None for those in the file.

    Raises:
        InputError: The file cannot be read, does not fit the kind, or has an invalid row, label or
            id.
    """
    options = options or EvaluateOptions()
    file = read_data_file(source, kind, options, teacher_column=teacher_column)
    return file.examples(file.labels() if labels is None else labels)


def _check_form(source: DataSource, kind: str, suffixes: Sequence[str], form: str) -> None:
    if source.suffix not in suffixes:
        raise InputError(
            f"{source} does not fit: {kind} is evaluated on {form} "
            f"(a file that ends in {', '.join(suffixes)})."
        )


class _SquadFile(DataFile):
    def __init__(self, source: DataSource) -> None:
        self._source = source
        self._questions, self._squad_v2 = read_squad(source)

    def labels(self) -> tuple[str, ...]:
        return ()

    def _examples(self, labels: tuple[str, ...]) -> Examples:
        return Examples(
            kind="question-answering",
            ids=[question.id for question in self._questions],
            places=[f"{self._source}, question {question.id}" for question in self._questions],
            inputs=[{"question": q.question, "context": q.context} for q in self._questions],
            targets=[question.answers for question in self._questions],
            squad_v2=self._squad_v2,
            answer_starts=[question.start for question in self._questions],
        )


class _ConllFile(DataFile):
    def __init__(self, source: DataSource) -> None:
        self._source = source
        self._sentences = read_conll(source)

    def labels(self) -> tuple[str, ...]:
        found = {label for sentence in self._sentences for label in sentence.labels}
        return tuple(sorted(found, key=lambda label: (label != "O", label)))

    def _examples(self, labels: tuple[str, ...]) -> Examples:
        for sentence in self._sentences:
            for line, label in enumerate(sentence.labels, sentence.line):
                if label not in labels:
                    raise _unknown(label, labels, f"{self._source}, line {line}")
        return Examples(
            kind="token-classification",
            ids=[str(number) for number in range(1, len(self._sentences) + 1)],
            places=[f"{self._source}, line {sentence.line}" for sentence in self._sentences],
            inputs=[{"words": sentence.words} for sentence in self._sentences],
            targets=[sentence.labels for sentence in self._sentences],
            labels=labels,
        )


class _TableFile(DataFile):
    def __init__(
        self, source: DataSource, kind: str, options: EvaluateOptions, teacher_column: str | None
    ) -> None:
        self._source, self._options = source, options
        if source.suffix == ".txt":
            self._rows = _lines(source)
        else:
            self._rows = _table_rows(source, kind, options, teacher_column)
        if kind == "pretraining":
            kind = "sentence-order" if "label" in self._rows[0].values else "fill-mask"
        self._kind = kind

    def labels(self) -> tuple[str, ...]:
        if self._kind not in _LABELLED:
            return ()
        values = [row.values["label"] for row in self._rows]
        if self._kind == "regression":
            name, first = self._options.label_column or "label", _split(values[0])
            return tuple(f"{name}_{at}" for at in range(len(first))) if len(first) > 1 else (name,)
        single = self._kind == "classification"
        names = {
            str(one).strip() for each in values for one in ([each] if single else _split(each))
        }
        return tuple(sorted(names - {""}, key=_by_number))

    def _examples(self, labels: tuple[str, ...]) -> Examples:
        kind, rows = self._kind, self._rows
        labels = ORDER_LABELS if kind == "sentence-order" else labels
        places = [f"{self._source}, line {row.line}" for row in rows]
        ids = [str(row.values.get("id", number)) for number, row in enumerate(rows, 1)]
        name, times = Counter(ids).most_common(1)[0]
        if times > 1:
            raise InputError(f"{self._source}: {times} rows have the id {name!r}.")
        placed = list(zip(rows, places, strict=True))
        return Examples(
            kind=kind,
            ids=ids,
            places=places,
            inputs=[_texts(row, kind, place, self._options) for row, place in placed],
            targets=[
                _TARGETS[kind](row.values.get("label"), labels, place) for row, place in placed
            ],
            labels=labels,
            teacher=[row.values["teacher"] for row in rows if "teacher" in row.values],
        )


def _lines(source: DataSource) -> list[TableRow]:
    lines = enumerate(read_text(source).split("\n"), 1)
    rows = [TableRow(number, {"text": line.strip()}) for number, line in lines if line.strip()]
    if not rows:
        raise InputError(f"{source} holds no text; give one text per line.")
    return rows


def _table_rows(
    source: DataSource, kind: str, options: EvaluateOptions, teacher_column: str | None
) -> list[TableRow]:
    # Columns of summaries may also have SciTLDR's names (Cachola et al. 2020, arXiv:2004.15011).
    summary = kind == "summarization"
    texts, labels = (["source"], ["summary", "target"]) if summary else (["sentence"], ["label"])
    columns: dict[str, Sequence[str]] = {
        "text": [options.text_column] if options.text_column else ["text", *texts],
        "pair": [options.pair_column],
        "label": [options.label_column] if options.label_column else labels,
        "id": ["id"],
    }
    if teacher_column is not None:
        columns["teacher"] = [teacher_column]
    needed = {"text", "label"} | ({"pair"} if kind in _ON_PAIRS else set())
    if summary:
        needed = {"label"}
    elif kind in _ON_TEXT:
        needed = {"text"}
    optional = [name for name in columns if name not in needed | {"teacher"}]
    return read_table(source, columns, optional=optional)


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
    # A label is given by its name or its number; a name that looks like a number is a name.
    if isinstance(value, list):
        raise InputError(
            f"{place}: expected one label, got {value!r}; several labels are for multi-label."
        )
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


def _by_number(label: str) -> tuple[bool, int, str]:
    whole = label.isdecimal()
    return not whole, int(label) if whole else 0, label


def _unknown(label: str, labels: Sequence[str], place: str) -> InputError:
    return InputError(f"{place}: label {label!r} is none of {', '.join(labels)}.")


_TABLES = (".tsv", ".csv", ".jsonl", ".parquet")
_CONLL = (".conll", ".tsv", ".txt", ".iob", ".iob2", ".bio")
_ON_TEXT = ("fill-mask", "pretraining")
_ON_PAIRS = ("sentence-order", "similarity")
_LABELLED = ("classification", "multi-label", "regression")
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
