"""Read tables with named columns (.tsv, .csv, .jsonl, .parquet), and plain text.

Whatever is read here can be given as a path, or as a `FileContent` that was read before: then one
read serves the parser and the digest of the training that depends on the file.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

from albert_edge.errors import InputError, requires_extra
from albert_edge.files import parse_json

__all__ = [
    "DataSource",
    "FileContent",
    "TableRow",
    "TextLines",
    "read_table",
    "read_text",
]


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE


_DIALECTS: dict[str, type[csv.Dialect]] = {".tsv": _Tabs, ".csv": csv.excel}


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
            return cls(path, path.read_bytes())
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


def read_table(
    source: str | os.PathLike[str] | FileContent,
    columns: Mapping[str, Sequence[str]],
    *,
    optional: Sequence[str] = (),
) -> list[TableRow]:
    """Read some columns of a table.

    A `.tsv` has tabs between its columns and no quoting (as in GLUE's files); a `.csv` has commas
    and may quote; the first row names the columns.  A `.jsonl` has one JSON object per line.  A
    `.parquet` needs the parquet extra.

    Args:
        source: The file, UTF-8.
        columns: For each name that a row's values are to have, the column names that are accepted.
        optional: The names that may be missing; then rows have no such value.

    Returns:
        The rows, at least one.

    Raises:
        InputError: The file cannot be read, has no rows, lacks a column, or has a row that does
            not fit.
        MissingExtraError: PyArrow, which reads Parquet, is not installed.
    """
    path = source if isinstance(source, FileContent) else Path(source)
    if path.suffix == ".jsonl":
        rows = _json_rows(path, columns, optional)
    elif path.suffix == ".parquet":
        rows = _parquet_rows(path, columns, optional)
    elif path.suffix in _DIALECTS:
        rows = _separated_rows(path, columns, optional)
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
    path: DataSource, columns: Mapping[str, Sequence[str]], optional: Sequence[str]
) -> Iterator[TableRow]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), _DIALECTS[path.suffix])
    try:
        header = next(reader, [])
        places = _places(header, columns, optional, where=f"{path}: the first row")
        for row in reader:
            if len(row) != len(header):
                raise InputError(
                    f"{path}, line {reader.line_num}: expected {len(header)} columns "
                    f"({', '.join(header)}), got {len(row)}."
                )
            yield TableRow(reader.line_num, {name: row[place] for name, place in places.items()})
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}.") from error


def _json_rows(
    path: DataSource, columns: Mapping[str, Sequence[str]], optional: Sequence[str]
) -> Iterator[TableRow]:
    # Only line feeds end a line: JSON text may contain the other marks that `splitlines` cuts at.
    for line, text in enumerate(read_text(path).split("\n"), 1):
        if text.strip():
            where = f"{path}, line {line}"
            values = parse_json(text, where=where, error=InputError)
            keys = list(values)
            places = _places(keys, columns, optional, where=where)
            yield TableRow(line, {name: values[keys[place]] for name, place in places.items()})


def _parquet_rows(
    path: DataSource, columns: Mapping[str, Sequence[str]], optional: Sequence[str]
) -> Iterator[TableRow]:
    with requires_extra():
        import pyarrow
        from pyarrow import parquet
    try:
        file = parquet.ParquetFile(
            pyarrow.BufferReader(path.content) if isinstance(path, FileContent) else path
        )
        header = file.schema_arrow.names
        places = _places(header, columns, optional, where=str(path))
        table = file.read(columns=[header[place] for place in places.values()])
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"cannot read {path}: {error}.") from error
    found = [table.column(header[place]).to_pylist() for place in places.values()]
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
                f"it has: {', '.join(header) or 'nothing'}."
            )
    return places


def _open(path: Path) -> AbstractContextManager[IO[bytes]]:
    return path.open("rb")


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
    opener: Callable[[Path], AbstractContextManager[Any]] = _open

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
