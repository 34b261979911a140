"""Labelled text from a table: one row an example, columns with names."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from albert_edge.errors import TrainingError

__all__ = ["LabelledTexts", "read_labelled"]

_TEXT = ("text", "sentence")


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE


_DIALECTS: dict[str, type[csv.Dialect]] = {".tsv": _Tabs, ".csv": csv.excel}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledTexts:
    """Texts and the class of each.

    Attributes:
        texts: n texts, none of them blank.
        classes: int32 [n], in [0, len(labels)).
        labels: The names of the classes.
        targets: float32 [n, len(labels)], what a model is to say of each text, where that is less
            sure than its class; rows sum to 1.  None for the class alone.
    """

    texts: Sequence[str]
    classes: np.ndarray
    labels: tuple[str, ...]
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)


def read_labelled(
    path: str | os.PathLike[str], *, labels: Sequence[str] | None = None
) -> LabelledTexts:
    """Read a table of texts and labels.

    A `.tsv` has tabs between its columns and knows no quoting (as GLUE's files); a `.csv` has
    commas and may quote.  The first row names the columns: `text` or `sentence`, and `label`.

    Args:
        path: The file, UTF-8.
        labels: The names of the classes, in order; a row holds a name or its number from 0.  None
            takes the distinct values in the file, sorted.

    Raises:
        TrainingError: The file cannot be read, lacks a column, has a row that is no example, or
            has fewer than two classes.
    """
    rows = _read_rows(Path(path))
    if not rows:
        raise TrainingError(f"{path} has no examples; below the column names it needs rows.")
    if labels is None:
        labels = sorted({label for _, _, label in rows}, key=_by_number)
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise TrainingError(f"{path}: expected two distinct labels or more, got {list(labels)}.")
    numbers = {str(index): index for index in range(len(labels))}
    numbers |= {label: index for index, label in enumerate(labels)}
    for line, _, label in rows:
        if label not in numbers:
            raise TrainingError(
                f"{path}, line {line}: label {label!r} is none of {', '.join(labels)} "
                f"(nor a number from 0 to {len(labels) - 1})."
            )
    classes = np.array([numbers[label] for _, _, label in rows], np.int32)
    return LabelledTexts(texts=[text for _, text, _ in rows], classes=classes, labels=tuple(labels))


def _by_number(label: str) -> tuple[bool, int, str]:
    whole = label.isdecimal()
    return not whole, int(label) if whole else 0, label


def _read_rows(path: Path) -> list[tuple[int, str, str]]:
    """Read (line number, text, label) of every row, or say what is wrong with the first bad one."""
    if path.suffix not in _DIALECTS:
        raise TrainingError(f"{path}: expected a file that ends in .tsv or .csv.")
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise TrainingError(f"{path}, line {line}: not UTF-8; save the file as UTF-8.") from error
    reader = csv.reader(io.StringIO(content, newline=""), _DIALECTS[path.suffix])
    try:
        header = next(reader, [])
        text_at, label_at = _column(header, _TEXT, path), _column(header, ("label",), path)
        rows = []
        for row in reader:
            if len(row) != len(header):
                raise TrainingError(
                    f"{path}, line {reader.line_num}: expected {len(header)} columns "
                    f"({', '.join(header)}), got {len(row)}."
                )
            if not row[text_at].strip():
                raise TrainingError(f"{path}, line {reader.line_num}: the text is blank.")
            rows.append((reader.line_num, row[text_at], row[label_at].strip()))
    except csv.Error as error:
        raise TrainingError(f"{path}, line {reader.line_num}: {error}.") from error
    return rows


def _column(header: Sequence[str], names: Sequence[str], path: Path) -> int:
    found = [index for index, name in enumerate(header) if name in names]
    if len(found) != 1:
        raise TrainingError(
            f"{path}: the first row must name one column {' or '.join(names)}; "
            f"it has: {', '.join(header) or 'nothing'}."
        )
    return found[0]
