"""The weights of an ALBERT in memory, whatever format they were read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.errors import ConfigError
from albert_edge.tasks import TASKS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """The weights of an ALBERT with the head of one task.

    Attributes:
        config: The configuration.
        task: One of `tasks.TASKS`.
        tensors: float32 arrays by canonical name; see `tensor_names.tensor_names`.
        tokenizer_files: The tokenizer's files by name, unchanged; empty if there are none.
        source: A name for reports: that of the directory without its path, or that of a preset
            followed by "(random weights)".
        sha256: The hexadecimal digest of the files of weights; empty if there are none.
        unused: The tensors in the file that the task does not need, by the file's names.
        randomly_initialized: The canonical names of the tensors that the file lacks.
        notes: Remarks for the user on values that were inferred.
        changes: The changes since training, such as "vocabulary", with figures that JSON can hold.
        ranges: The activation ranges learned by quantization-aware training: minimum and maximum,
            float32 [2, C], by the names of `activation_ranges.channels_of`; empty without it.
    """

    config: AlbertConfig
    task: str
    tensors: Mapping[str, np.ndarray]
    tokenizer_files: Mapping[str, bytes] = field(default_factory=dict)
    source: str = ""
    sha256: str = ""
    unused: tuple[str, ...] = ()
    randomly_initialized: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ranges: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"unknown task {self.task!r}; choose from {', '.join(TASKS)}.")
