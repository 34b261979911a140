"""Labelled text from a table: one row an example, columns with names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from albert_edge.datasets.tables import read_table
from albert_edge.errors import InputError, TrainingError

__all__ = ["LabelledTexts", "read_labelled"]

_TEXT = ("text", "sentence")


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

    The columns are `text` or `sentence`, and `label`; see `datasets.tables` for the forms.

    Args:
        path: The file, UTF-8.
        labels: The names of the classes, in order; a row holds a name or its number from 0.  None
            takes the distinct values in the file, sorted.

    Raises:
        TrainingError: The file cannot be read, lacks a column, has a row that is no example, or
            has fewer than two classes.
    """
    rows = _read_rows(Path(path))
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
    try:
        table = read_table(path, {"text": _TEXT, "label": ("label",)})
    except InputError as error:
        raise TrainingError(str(error)) from error
    rows = []
    for line, values in table:
        text, label = values["text"], values["label"]
        if not isinstance(text, str) or not text.strip():
            raise TrainingError(f"{path}, line {line}: the text is blank.")
        rows.append((line, text, str(label).strip()))
    return rows
