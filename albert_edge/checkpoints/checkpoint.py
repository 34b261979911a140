"""What every checkpoint format is read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConfigError
from albert_edge.tasks import TASKS

__all__ = ["Checkpoint"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """The weights of one ALBERT with the head of one task.

    Attributes:
        config: The shape.
        task: One of `tasks.TASKS`.
        tensors: float32 arrays by canonical name; `names.tensor_names` gives names and shapes.
        tokenizer_files: The tokenizer's files by name, as found; empty when there are none.
        source: What was read, for people: a directory's own name without the path to it, or a
            preset's name and that its weights are random.
        sha256: The hexadecimal digest of the weights' files; empty when there are none.
        left_out: The tensors in the file that the task has no place for, by the file's names.
        drawn: The tensors of a head that the file lacks, which are random; canonical names.
        notes: What was understood that the files do not say outright, for people.
        changes: What was done to it after it was read, such as "vocabulary": figures, ready for
            JSON.
        ranges: The least and the greatest value that 8 bits were trained to stand for, float32
            [2, C], by the names of `ranges.channels_of`; empty for a model that was not so trained.
    """

    config: AlbertConfig
    task: str
    tensors: Mapping[str, np.ndarray]
    tokenizer_files: Mapping[str, bytes] = field(default_factory=dict)
    source: str = ""
    sha256: str = ""
    left_out: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ranges: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"unknown task {self.task!r}; choose from {', '.join(TASKS)}.")
