"""Read tables with named columns (.tsv, .csv, .jsonl, .parquet), and plain text.

Whatever is read here can be given as a path, or as a `FileContent` that was read before: then one
read serves the parser and the digest of the training that depends on the file.
"""

from __future__ import annotations

import csv
import io
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

from albert_edge.errors import InputError, list_choices, requires_extra
from albert_edge.files import open_input, parse_json, read_input

__all__ = ["TextLines", "read_text"]

OnBadRow: TypeAlias = Callable[[InputError], object]  # called with the error of an invalid row
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')
_FIELD_LIMIT = threading.Lock()  # the limit of module csv is one for the whole process
_SPACE = " \t\r\f\v"
_TAG = re.compile(r"O|[BIESLUMW](-.+)?")  # of the schemes IOB, IOBES, BILOU and BMES
# A comment of Universal Dependencies, such as `# sent_id = 1` or `# newdoc id = a`.
_COMMENT = re.compile(r"# *(?:[\w.:-]+(?: \w+)? ?=(?: |$)|new(?:doc|par)$)")


@dataclass(frozen=True, slots=True, eq=False)
class FileContent:
    """A file and its bytes.

    Attributes:
        path: The file.
        content: All of it.
    """

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: Path) -> FileContent:
        """Read a file.

        Raises:
            InputError: It cannot be read.
        """
        try:
            return cls(path, read_input(path))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}.") from error

    @property
    def suffix(self) -> str:
        return self.path.suffix

    def __str__(self) -> str:
        return str(self.path)


DataSource: TypeAlias = Path | FileContent


class TableRow(NamedTuple):
    """One row of a table.

    Attributes:
        line: The line of the file at which it ends, from 1; in Parquet, its number.
        values: Its values by the name that was asked for: text, or any JSON value.
    """

    line: int
    values: Mapping[str, Any]


def raise_error(error: InputError) -> NoReturn:
    """Raise the error of an invalid row."""
    raise error


def read_table(
    source: str | os.PathLike[str] | FileContent,
    columns: Mapping[str, Sequence[str]],
    *,
    optional: Sequence[str] = (),
    quoting: str = "auto",
    on_bad: OnBadRow = raise_error,
) -> list[TableRow]:
    """Read some columns of a table.

    A `.tsv` has tabs between its columns, a `.csv` commas, and the first row names the columns.  A
    `.jsonl` has one JSON object per line.  A `.parquet` needs the parquet extra.

    Args:
        source: The file, UTF-8.
        columns: For each name that a row's values are to have, the column names that are accepted.
        optional: The names that may be missing; then rows have no such value.
        quoting: `auto`, or `none` where a quotation mark is a character like any other.  With
            `auto` a `.csv` may quote, and a `.tsv` is read as `_tab_rows` describes.
        on_bad: Called with the error of a row that does not fit; if it returns, the row is left
            out.

    Returns:
        The rows, at least one.

    Raises:
        InputError: The file cannot be read, has no rows, lacks a column, or has a row that does
            not fit.
        MissingExtraError: PyArrow, which reads Parquet, is not installed.
    """
    path = source if isinstance(source, FileContent) else Path(source)
    if path.suffix == ".jsonl":
        rows = _json_rows(path, columns, optional, on_bad)
    elif path.suffix == ".parquet":
        rows = _parquet_rows(path, columns, optional)
    elif path.suffix in (".tsv", ".csv"):
        rows = _separated_rows(path, columns, optional, quoting, on_bad)
    else:
        raise InputError(f"{path}: expected a file that ends in .tsv, .csv or .jsonl, or .parquet.")
    if not (found := list(rows)):
        raise InputError(f"{path} has no examples; below the column names it needs rows.")
    return found


def read_text(source: DataSource) -> str:
    """Read a UTF-8 file, without its byte order mark if it has one; line ends stay as they are.

    Raises:
        InputError: It cannot be read, or is not UTF-8.
    """
    file = source if isinstance(source, FileContent) else FileContent.read(source)
    try:
        return file.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{file}, line {line}: not UTF-8; save the file as UTF-8.") from error


def _separated_rows(
    path: DataSource,
    columns: Mapping[str, Sequence[str]],
    optional: Sequence[str],
    quoting: str,
    on_bad: OnBadRow,
) -> Iterator[TableRow]:
    text = read_text(path)
    try:
        if path.suffix == ".csv":
            quote = csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL
            rows = _parse(text, delimiter=",", quoting=quote)
        else:
            rows = _tab_rows(text, quoting)
    except csv.Error as error:
        raise InputError(f"{path}: {error}.") from error
    _, header = rows[0] if rows else (0, [])
    places = _places(header, columns, optional, where=f"{path}: the first row")
    for line, row in rows[1:]:
        if len(row) == len(header):
            yield TableRow(line, {name: row[place] for name, place in places.items()})
            continue
        on_bad(
            InputError(
                f"{path}, line {line}: expected {len(header)} columns ({list_choices(header)}), "
                f"got {len(row)}."
            )
        )


def _tab_rows(text: str, quoting: str) -> list[tuple[int, list[str]]]:
    """Return the rows of a table with tabs, which may quote (pandas) or not (GLUE).

    A writer that quotes does so with every field that has a quotation mark, a tab or a line end,
    and doubles the marks inside.  A file that such a writer would write again as it is, was written
    by one.  Otherwise, if all fields with a mark are quoted as a whole, they are unquoted.  In a
    file with other marks too, only those are that have doubled marks inside: a text may begin and
    end with a mark of its own.
    """
    raw = _parse(text, delimiter="\t", quoting=csv.QUOTE_NONE)
    if quoting == "none" or '"' not in text:
        return raw
    try:
        quoted = _parse(text, delimiter="\t", strict=True)
    except csv.Error:
        quoted = []
    if _are_even(quoted) and (not _are_even(raw) or _would_write(quoted, text)):
        return quoted
    marked = [field for _, row in raw for field in row if '"' in field]
    consistent = all(map(_QUOTED.fullmatch, marked))
    return [(line, [_unquoted(field, consistent) for field in row]) for line, row in raw]


def _are_even(rows: list[tuple[int, list[str]]]) -> bool:
    return len({len(row) for _, row in rows}) == 1


def _would_write(rows: list[tuple[int, list[str]]], text: str) -> bool:
    end = "\r\n" if "\r\n" in text else "\n"
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter="\t", quoting=quoting, lineterminator=end)
        writer.writerows(row for _, row in rows)
        if file.getvalue().rstrip("\r\n") == text.rstrip("\r\n"):
            return True
    return False


def _unquoted(field: str, always: bool) -> str:
    if field[:1] != '"' or not (always or '""' in field[1:-1]) or not _QUOTED.fullmatch(field):
        return field
    return field[1:-1].replace('""', '"')


def _parse(text: str, **dialect: Any) -> list[tuple[int, list[str]]]:
    # The rows, each with the number of the line at which it ends.
    with _any_field_length(text):
        reader = csv.reader(io.StringIO(text, newline=""), **dialect)
        return [(reader.line_num, row) for row in reader]


@contextmanager
def _any_field_length(text: str) -> Iterator[None]:
    with _FIELD_LIMIT:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, len(text)))
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _json_rows(
    path: DataSource,
    columns: Mapping[str, Sequence[str]],
    optional: Sequence[str],
    on_bad: OnBadRow,
) -> Iterator[TableRow]:
    # Only line feeds end a line: JSON text may contain the other marks that `splitlines` cuts at.
    for line, text in enumerate(read_text(path).split("\n"), 1):
        if not text.strip():
            continue
        where = f"{path}, line {line}"
        try:
            values = parse_json(text, where=where, error=InputError)
            keys = list(values)
            places = _places(keys, columns, optional, where=where)
        except InputError as error:
            on_bad(error)
        else:
            yield TableRow(line, {name: values[keys[place]] for name, place in places.items()})


def _parquet_rows(
    path: DataSource, columns: Mapping[str, Sequence[str]], optional: Sequence[str]
) -> Iterator[TableRow]:
    with requires_extra():
        import pyarrow
        from pyarrow import parquet
    try:
        opened = (
            pyarrow.BufferReader(path.content)
            if isinstance(path, FileContent)
            else open_input(path)
        )
        with opened:
            file = parquet.ParquetFile(opened)
            header = file.schema_arrow.names
            places = _places(header, columns, optional, where=str(path))
            table = file.read(columns=[header[place] for place in places.values()])
        # Text that is not UTF-8, or a date beyond Python's, is a ValueError or OverflowError.
        found = [table.column(header[place]).to_pylist() for place in places.values()]
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
        raise InputError(f"cannot read {path}: {error}.") from error
    for number, values in enumerate(zip(*found, strict=True), 1):
        yield TableRow(number, dict(zip(places, values, strict=True)))


def _places(
    header: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    optional: Sequence[str],
    *,
    where: str,
) -> dict[str, int]:
    places = {}
    for name, accepted in columns.items():
        found = [index for index, column in enumerate(header) if column in accepted]
        if len(found) == 1:
            places[name] = found[0]
        elif found or name not in optional:
            raise InputError(
                f"{where} must name one column {' or '.join(accepted)}; "
                f"it has: {list_choices(header, given=accepted[0]) or 'nothing'}."
            )
    return places


@dataclass(frozen=True, slots=True)
class TextLines:
    """The texts of a UTF-8 file, one per line, which may be larger than memory.

    The file is read again at every iteration; blank lines are skipped.

    Attributes:
        path: The file.
        opener: The function that opens it, such as one that shows progress.

    Raises:
        InputError: On iteration: it cannot be read, or is not UTF-8.
    """

    path: Path
    opener: Callable[[Path], AbstractContextManager[Any]] = open_input

    def __iter__(self) -> Iterator[str]:
        try:
            with self.opener(self.path) as file:
                for line, content in enumerate(file, 1):
                    text = self._decode(line, content).rstrip("\r\n")
                    if text and not text.isspace():
                        yield text
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}.") from error

    def _decode(self, line: int, content: bytes) -> str:
        try:
            return content.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.path}, line {line}: not UTF-8; save the file as UTF-8."
            ) from error


# Read files in CoNLL's form: a word and its label on every line.


class TaggedSentence(NamedTuple):
    """A sentence of labelled words.

    Attributes:
        lines: The line of the file of each word, from 1.
        words: Its words, at least one.
        labels: The label of each word.
    """

    lines: list[int]
    words: list[str]
    labels: list[str]


def read_conll(path: DataSource, *, on_bad: OnBadRow = raise_error) -> list[TaggedSentence]:
    """Read the sentences of a file in the form of CoNLL-2003.

    Every line has a word in its first column and the word's label in its last.  Tabs part the
    columns of a line that has any, and a word may then contain spaces; otherwise spaces do.  A
    blank line, or one that begins with -DOCSTART-, parts the sentences.  A line that begins with
    `# ` and has no column of labels is a comment.

    Args:
        path: The file.
        on_bad: Called with the error of a line of one column, or of one that may be a comment; if
            it returns, the sentence is left out.

    Raises:
        InputError: The file cannot be read, or has no words.
    """
    rows = [(text.strip(_SPACE), _columns(text)) for text in read_text(path).split("\n")]
    words = [(text, c) for text, c in rows if c and c[0] != "-DOCSTART-" and c[0][:1] != "#"]
    tabs = any("\t" in text for text, _ in words)
    widths = {len(columns) for _, columns in words}
    labels = {columns[-1] for _, columns in words}
    sentences: list[TaggedSentence] = []
    error: InputError | None
    sentence, error = TaggedSentence([], [], []), None
    for line, (text, columns) in enumerate([*rows, ("", [])], 1):
        if columns and columns[0] != "-DOCSTART-":
            if text.startswith("# ") and (
                len(columns) not in widths or _COMMENT.match(text) or (tabs and "\t" not in text)
            ):
                continue
            if error is None:
                error = _error(columns, text, labels, f"{path}, line {line}")
            sentence.lines.append(line)
            sentence.words.append(columns[0])
            sentence.labels.append(columns[-1])
        elif sentence.words:
            sentences += [] if error else [sentence]
            if error:
                on_bad(error)
            sentence, error = TaggedSentence([], [], []), None
    if not sentences:
        raise InputError(f"{path} has no words; it needs a word and its label on every line.")
    return sentences


def _columns(text: str) -> list[str]:
    # Only ASCII white space parts columns: a no-break space may be part of a word, or all of it.
    text = text.strip(_SPACE)
    if "\t" in text:
        return [column.strip(_SPACE) for column in text.split("\t")]
    return [] if text.isspace() else [column for column in text.split(" ") if column]


def _error(columns: list[str], text: str, labels: set[str], where: str) -> InputError | None:
    if len(columns) < 2 or not columns[0] or not columns[-1]:
        return InputError(
            f"{where}: expected a word and its label with white space between, as in CoNLL's "
            f"files, got {text[:40]!r}."
        )
    if text.startswith("# ") and columns[-1] not in labels and not _TAG.fullmatch(columns[-1]):
        return InputError(
            f"{where}: {text[:40]!r} may be a comment or the word '#'; no other line has the label "
            f"{columns[-1][:40]!r}. Remove the line, or use tabs between words and labels."
        )
    return None
