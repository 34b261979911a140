"""Data files as examples: the inputs of a model and its targets, by kind of task."""

from __future__ import annotations

import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar, final

import numpy as np

from albert_edge.datasets.options import EvaluateOptions
from albert_edge.datasets.squad import Question, is_json_lines, read_squad
from albert_edge.datasets.tables import (
    DataSource,
    TableRow,
    TaggedSentence,
    read_conll,
    read_table,
    read_text,
)
from albert_edge.errors import InputError, list_choices
from albert_edge.pipelines.classification import ORDER_LABELS

__all__ = ["Examples", "read_examples"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """n examples of one kind.

    Attributes:
        kind: One of `KINDS`.
        ids: The name of each in a file of predictions; they may repeat where none is saved or read.
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
        skip_bad: Whether examples that cannot be used are to be left out.
        skipped: The errors of those that were.
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
    skip_bad: bool = False
    skipped: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int | None) -> Examples:
        """Return the first `count` examples; None for all."""
        return self if count is None else self.take(range(len(self))[:count])

    def without(self, bad: Mapping[int, str]) -> Examples:
        """Return the examples but those with the indices in `bad`, whose errors are its values.

        Raises:
            InputError: There are no others.
        """
        kept = [index for index in range(len(self)) if index not in bad]
        if not kept:
            raise InputError(_all_skipped([*self.skipped, *bad.values()]))
        return replace(self.take(kept), skipped=[*self.skipped, *bad.values()])

    def take(self, indices: Sequence[int]) -> Examples:
        """Return the examples with these indices."""
        names = ("ids", "places", "inputs", "targets", "answer_starts", "teacher")
        columns = {name: getattr(self, name) for name in names}
        changes: dict[str, Any] = {
            name: [values[i] for i in indices] for name, values in columns.items() if values
        }
        return replace(self, **changes)

    def class_indices(self) -> np.ndarray:
        """Return the place of each target among the labels, int32 [n], if each is one label."""
        return np.array([self.labels.index(label) for label in self.targets], np.int32)


_Read = TypeVar("_Read")


class _Example(NamedTuple):
    # One example, as in `Examples`.
    id: str
    place: str
    inputs: dict[str, Any]
    target: Any
    answer_start: int | None = None
    teacher: Any = None


class DataFile(ABC):
    """A parsed data file: it lists the labels in it, and checks its examples against given ones.

    Args:
        source: The file.
        kind: The kind of the examples, one of `KINDS`.
        options: The options of the evaluation.
    """

    def __init__(self, source: DataSource, kind: str, options: EvaluateOptions) -> None:
        self._source, self._kind, self._options = source, kind, options
        self._skipped: list[str] = []  # the errors of what was left out

    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Return the distinct labels of the file; none if its kind has no labels.

        Numbers come first, by their size, and `O` before other labels of words.  For `regression`
        there is a name for each number, the first being that of the column.

        Raises:
            InputError: The labels are ambiguous.
        """

    @final
    def examples(self, labels: tuple[str, ...]) -> Examples:
        """Return the examples, as many as the options allow.

        Args:
            labels: The labels, or the names of the numbers, in the order of the model's.

        Raises:
            InputError: A row or a label is invalid, and the options do not leave such rows out; or
                all of them are.
        """
        labels = ORDER_LABELS if self._kind == "sentence-order" else labels
        rows: list[_Example] = []
        for row in self._rows():
            try:
                rows.append(self._example(row, labels))
            except InputError as error:
                self._on_bad(error)
        if not rows:
            raise InputError(_all_skipped(self._skipped))
        ids, places, inputs, targets, starts, teacher = map(list, zip(*rows, strict=True))
        return Examples(
            kind=self._kind,
            ids=ids,
            places=places,
            inputs=inputs,
            targets=targets,
            labels=labels,
            squad_v2=self._squad_v2(),
            answer_starts=starts if self._kind == "question-answering" else (),
            teacher=() if teacher[0] is None else teacher,
            skip_bad=self._options.skip_bad,
            skipped=tuple(self._skipped),
        ).first(self._options.limit)

    @final
    def _read_all(self, read: Callable[..., _Read]) -> _Read:
        # What a reader returns; if it left everything out, the error gives the reason.
        try:
            return read(self._source, on_bad=self._on_bad)
        except InputError as error:
            raise InputError(_all_skipped(self._skipped)) if self._skipped else error from error

    @final
    def _on_bad(self, error: InputError) -> None:
        # Note the error of an example that is left out, or raise it.
        if not self._options.skip_bad:
            raise InputError(f"{error} --skip-bad leaves such examples out.") from error
        self._skipped.append(str(error))

    @abstractmethod
    def _rows(self) -> Iterable[Any]: ...

    @abstractmethod
    def _example(self, row: Any, labels: tuple[str, ...]) -> _Example: ...

    def _squad_v2(self) -> bool:
        return False


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
        file = _SquadFile(source, kind, options)
    elif kind == "token-classification":
        _check_form(source, kind, _CONLL, "CoNLL's form")
        file = _ConllFile(source, kind, options)
    else:
        _check_form(source, kind, (*_TABLES, *((".txt",) if kind in _ON_TEXT else ())), "a table")
        file = _TableFile(source, kind, options, teacher_column)
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
        InputError: The file cannot be read, does not fit the kind, or has an invalid row or label.
    """
    options = options or EvaluateOptions()
    file = read_data_file(source, kind, options, teacher_column=teacher_column)
    return file.examples(file.labels() if labels is None else labels)


def _check_form(source: DataSource, kind: str, suffixes: Sequence[str], form: str) -> None:
    if source.suffix not in suffixes:
        lines = source.suffix == ".json" and is_json_lines(read_text(source))
        raise InputError(
            f"{source} does not fit: {kind} is evaluated on {form} "
            f"(a file that ends in {', '.join(suffixes)})."
            + (" It holds JSON lines; name it .jsonl." if lines and ".jsonl" in suffixes else "")
        )


def _check_no_columns(source: DataSource, options: EvaluateOptions) -> None:
    names = ("text_column", "pair_column", "label_column")
    if given := [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]:
        raise InputError(f"{source} has no named columns; leave out {', '.join(given)}.")


class _SquadFile(DataFile):
    def __init__(self, source: DataSource, kind: str, options: EvaluateOptions) -> None:
        super().__init__(source, kind, options)
        _check_no_columns(source, options)
        self._questions, self._is_v2 = self._read_all(read_squad)

    def labels(self) -> tuple[str, ...]:
        return ()

    def _rows(self) -> Iterable[Question]:
        return self._questions

    def _example(self, row: Question, labels: tuple[str, ...]) -> _Example:
        place = f"{self._source}, question {row.id}"
        _check_text(row.question, "question", place)
        _check_text(row.context, "context", place)
        inputs = {"question": row.question, "context": row.context}
        return _Example(row.id, place, inputs, row.answers, row.start)

    def _squad_v2(self) -> bool:
        return self._is_v2


class _ConllFile(DataFile):
    def __init__(self, source: DataSource, kind: str, options: EvaluateOptions) -> None:
        super().__init__(source, kind, options)
        _check_no_columns(source, options)
        self._sentences = self._read_all(read_conll)

    def labels(self) -> tuple[str, ...]:
        found = {label for sentence in self._sentences for label in sentence.labels}
        return tuple(sorted(found, key=lambda label: (label != "O", label)))

    def _rows(self) -> Iterable[tuple[int, TaggedSentence]]:
        return enumerate(self._sentences, 1)

    def _example(self, row: tuple[int, TaggedSentence], labels: tuple[str, ...]) -> _Example:
        number, sentence = row
        for line, label in zip(sentence.lines, sentence.labels, strict=True):
            if label not in labels:
                raise _unknown(label, labels, f"{self._source}, line {line}")
        place = f"{self._source}, line {sentence.lines[0]}"
        _check_text(" ".join(sentence.words), "sentence", place)
        return _Example(str(number), place, {"words": sentence.words}, sentence.labels)


class _TableFile(DataFile):
    def __init__(
        self, source: DataSource, kind: str, options: EvaluateOptions, teacher_column: str | None
    ) -> None:
        super().__init__(source, kind, options)
        if source.suffix == ".txt":
            _check_no_columns(source, options)
            self._table = _lines(source)
        else:
            self._table = self._read(teacher_column)
        if kind == "pretraining":
            self._kind = "sentence-order" if "label" in self._table[0].values else "fill-mask"

    def _read(self, teacher_column: str | None) -> list[TableRow]:
        # Columns of summaries may also have SciTLDR's names (Cachola et al. 2020,
        # arXiv:2004.15011).  A column that the options name must be there.
        options, kind = self._options, self._kind
        summary = kind == "summarization"
        texts, labels = (
            (["source"], ["summary", "target"]) if summary else (["sentence"], ["label"])
        )
        given = {"text": options.text_column, "pair": options.pair_column}
        given |= {"label": options.label_column, "teacher": teacher_column}
        columns: dict[str, Sequence[str]] = {"text": ["text", *texts], "pair": ["text_pair"]}
        columns |= {"label": labels, "id": ["id"]}
        columns |= {name: [column] for name, column in given.items() if column is not None}
        needed = {"text", "label"} | ({"pair"} if kind in _ON_PAIRS else set())
        if summary:
            needed = {"label"}
        elif kind in _ON_TEXT:
            needed = {"text"}
        needed |= {name for name, column in given.items() if column is not None}
        optional = [name for name in columns if name not in needed]
        rows = self._read_all(
            partial(read_table, columns=columns, optional=optional, quoting=options.quoting)
        )
        return self._complete(rows, {name: columns[name] for name in optional if name != "id"})

    def _complete(
        self, rows: list[TableRow], optional: Mapping[str, Sequence[str]]
    ) -> list[TableRow]:
        # A JSON line may lack a column that other lines have.
        for name, accepted in optional.items():
            lacking = [row for row in rows if name not in row.values]
            if 0 < len(lacking) < len(rows):
                for row in lacking:
                    self._on_bad(
                        InputError(
                            f"{self._source}, line {row.line} has no {' or '.join(accepted)}; "
                            f"{len(rows) - len(lacking)} other lines have."
                        )
                    )
                rows = [row for row in rows if name in row.values]
        return rows

    def labels(self) -> tuple[str, ...]:
        if self._kind not in _LABELLED:
            return ()
        values = [row.values["label"] for row in self._table]
        if self._kind == "regression":
            name, count = self._options.label_column or "label", self._numbers_in_a_row(values)
            return tuple(f"{name}_{at}" for at in range(count)) if count > 1 else (name,)
        names: set[str | None] = set()
        for value in values:
            # What is invalid is an error of its row.
            with suppress(InputError):
                single = self._kind == "classification"
                if not (single and _is_list(value)):
                    names |= {*map(_name, [value] if single else _split(value))}
        found = {name for name in names if name is not None and name not in _MISSING}
        found -= {name for name in found if _is_placeholder(name, found)}
        return tuple(sorted(found, key=_by_number))

    def _numbers_in_a_row(self, values: Sequence[Any]) -> int:
        first = next((value for value in values if value not in (None, "")), None)
        numbers = _split(first, str(self._source))
        # One number with a decimal comma, or two: only points tell.
        plain = isinstance(first, str) and first.strip()[:1] not in _OPENING
        if plain and len(numbers) > 1 and sum("." in number for number in numbers) < 2:
            raise InputError(
                f"{self._source}: {str(first)[:40]!r} may be one number with a decimal comma, or "
                f"{len(numbers)} numbers. Write decimal points; for several numbers, name them "
                "with --labels A,B."
            )
        return len(numbers)

    def _rows(self) -> Iterable[tuple[int, TableRow]]:
        return enumerate(self._table, 1)

    def _example(self, row: tuple[int, TableRow], labels: tuple[str, ...]) -> _Example:
        number, (line, values) = row
        place = f"{self._source}, line {line}"
        name = values.get("id")
        return _Example(
            str(number) if name is None else str(name),
            place,
            _texts(values, self._kind, place, self._options),
            _TARGETS[self._kind](values.get("label"), labels, place),
            teacher=values.get("teacher"),
        )


def _lines(source: DataSource) -> list[TableRow]:
    lines = enumerate(read_text(source).split("\n"), 1)
    rows = [TableRow(number, {"text": line.strip()}) for number, line in lines if line.strip()]
    if not rows:
        raise InputError(f"{source} holds no text; give one text per line.")
    return rows


def _texts(
    values: Mapping[str, Any], kind: str, place: str, options: EvaluateOptions
) -> dict[str, Any]:
    if kind == "summarization":
        article = {"text": _article(values["text"], place)} if "text" in values else {}
        return {**article, "bullets": options.bullets}
    names = ("text",) if kind == "fill-mask" else ("text", "pair")
    texts = {name: values[name] for name in names if name in values}
    for name, text in texts.items():
        _check_text(text, "text" if name == "text" else "second text", place)
    if kind in _ON_PAIRS and len(texts) < 2:
        raise InputError(f"{place}: {kind} needs a second text.")
    return texts


def _check_text(text: Any, what: str, place: str) -> None:
    # White space, zero-width characters and control characters give no tokens.
    if text is not None and not isinstance(text, str):
        shown = f"{repr(text)[:40]} of type {type(text).__name__}"
        raise InputError(f"{place}: the {what} must be text, not {shown}.")
    if text is None or not text.strip():
        raise InputError(f"{place}: the {what} is blank.")
    if all(unicodedata.category(char) in _INVISIBLE for char in text):
        raise InputError(f"{place}: the {what} is empty: it has no visible characters.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: the {what} has half of a surrogate pair.") from error


def _article(value: Any, place: str) -> str | list[str]:
    sentences = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in sentences) or not "".join(sentences).strip():
        raise InputError(f"{place}: expected an article, or a list of its sentences.")
    article: str | list[str] = value
    return article


def _name(value: Any) -> str | None:
    """Return the label that a cell or a JSON value names; None if it names none.

    Raises:
        InputError: The value is neither text nor a number.
    """
    if isinstance(value, str):
        return value.strip() or None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():  # pandas writes 1.0 where values miss
        return str(int(value))
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return str(value)
    raise InputError(f"expected a label, got {str(value)[:60]!r}")


def _label(value: Any, labels: tuple[str, ...], place: str) -> str:
    """Return the label that a value names, or numbers if no label's name is a number."""
    if _is_list(value) and value not in labels:
        raise InputError(
            f"{place}: expected one label, got {str(value)[:60]!r}; several labels are for "
            "multi-label."
        )
    try:
        text = _name(value)
    except InputError as error:
        raise InputError(f"{place}: {error}.") from error
    if isinstance(value, bool) and str(value).lower() in labels:
        return str(value).lower()
    found = _label_names(labels).get(text or "")
    if found is not None:
        return found
    if text is None or text in _MISSING or _is_placeholder(text, labels):
        raise InputError(
            f"{place}: the row has no label (it is {str(value)!r}). If this is a class, name it "
            "in --labels."
        )
    raise _unknown(text, labels, place)


@lru_cache(maxsize=8)
def _label_names(labels: tuple[str, ...]) -> Mapping[str, str]:
    # A label by its name; or by its number, unless a number is the name of one.
    names = {label: label for label in labels}
    if any(map(_is_number, labels)):
        return names
    return {str(number): label for number, label in enumerate(labels)} | names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_placeholder(text: str, others: Iterable[str]) -> bool:
    # SNLI's and Hugging Face's number for "no label" is -1, where labels have names, or numbers
    # from 0 on.  Without a 0, or with other negative numbers, it is a class.
    if not _is_number(text) or float(text) != -1:
        return False
    others = {label for label in others if label != text}
    numbers = {float(label) for label in others if _is_number(label)}
    return len(numbers) < len(others) or (0 in numbers and min(numbers) == 0)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) or (
        isinstance(value, str) and _LIST.fullmatch(value.strip()) is not None
    )


def _labels(value: Any, labels: tuple[str, ...], place: str) -> list[str]:
    if value is None:
        raise InputError(f"{place}: the row has no labels (it is None); write [] for none.")
    return [_label(each, labels, place) for each in _split(value, place) if str(each).strip()]


def _numbers(value: Any, labels: tuple[str, ...], place: str) -> list[float]:
    parts = _split(value, place)
    try:
        numbers = [_number(each) for each in parts]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != max(len(labels), 1) or not all(map(math.isfinite, numbers)):
        what = f"{len(labels)} numbers with commas between" if len(labels) > 1 else "a number"
        raise InputError(f"{place}: expected {what}, got {str(value)[:60]!r}.")
    return numbers


def _number(value: Any) -> float:
    # Python's own underscores between digits are no number in a data file.
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError
    return float(value)


def _split(value: Any, place: str = "") -> list[Any]:
    """Return the values of a cell: a list, one that pandas wrote as text, or parts with commas."""
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str):
        return [value]
    text = value.strip()
    if text[:1] not in _OPENING:
        return text.split(",")
    if not _LIST.fullmatch(text):
        if text[0] == "[":
            raise InputError(
                f"{place}: expected a list such as ['a', 'b'], or a,b; got {text[:60]!r}."
            )
        return text.split(",")
    items = _ITEM.findall(text)
    return [_ESCAPE.sub(_unescape, i[1:-1]) if i[0] in "'\"" else i for i in items]


def _unescape(match: re.Match[str]) -> str:
    digits, char = match["digits"], match[0][1]
    code = int(digits, 16) if digits else 0
    return chr(code) if digits and code < 0x110000 else {"n": "\n", "t": "\t"}.get(char, char)


def _summaries(value: Any, _: tuple[str, ...], place: str) -> list[str]:
    given = value if isinstance(value, list) else [value]
    if not given or not all(isinstance(each, str) and each.strip() for each in given):
        raise InputError(f"{place}: expected a summary, or a list of several, got {value!r}.")
    return given


def _by_number(label: str) -> tuple[bool, int, str, str]:
    # By size, without a conversion: a label may have thousands of digits.
    whole = label.isascii() and label.isdigit()
    digits = label.lstrip("0") if whole else ""
    return not whole, len(digits), digits, label


def _unknown(label: str, labels: Sequence[str], place: str) -> InputError:
    known = list_choices(labels, given=label)
    shown = label if len(label) <= 60 else f"{label[:60]}..."
    return InputError(f"{place}: label {shown!r} is none of {known}.")


def _all_skipped(errors: Sequence[str]) -> str:
    return f"no example can be used: {len(errors)} were skipped, the first one because {errors[0]}"


_TABLES = (".tsv", ".csv", ".jsonl", ".parquet")
_CONLL = (".conll", ".tsv", ".txt", ".iob", ".iob2", ".bio")
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")
_MISSING = ("-", "nan", "NaN", "<NA>")  # SNLI's mark of no label, and those of numpy and pandas
_OPENING = ("[", "(", "{")
_ITEM = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"""
)
_ESCAPE = re.compile(r"\\(?:[xuU](?P<digits>(?<=x)[\da-f]{2}|(?<=u)[\da-f]{4}|(?<=U)[\da-f]{8})|.)")
# A list, tuple or set, as Python or numpy writes it.
_LIST = re.compile(
    rf"[\[({{]\s*(?:(?:{_ITEM.pattern})(?:(?:\s*,\s*|\s+)(?:{_ITEM.pattern}))*\s*,?)?\s*[\])}}]",
    re.DOTALL,
)
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
