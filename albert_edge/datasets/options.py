"""How to evaluate."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

from albert_edge.early_exit import NEVER
from albert_edge.errors import ConfigError

__all__ = ["EvaluateOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What `evaluate` can be told.

    Attributes:
        task: "summarize", to have an encoder sum up articles; None for what a file was made for.
        bullets: How many sentences of an article to take.
        text_column: The name of the column of texts; None for `text` or `sentence`, or `text` or
            `source`, a text or a list of its sentences, if articles are summed up.
        pair_column: The name of the column of second texts, if there is one.
        label_column: The name of the column of labels; None for `label`, or `summary` or `target`
            if summaries are scored.
        limit: How many examples to take from the beginning; None for all.
        workers: How many CPU cores to use; None for all that this process may use.
        null_threshold: By how much the logits of "no answer" must exceed the best answer's to win,
            in SQuAD 2.
        stem: Whether to cut the ends off words before ROUGE compares them; needs the stem extra.
        patience: When files leave that can do so early, as `exits.EarlyExit` has it; this and the
            next two are the file's own if None.
        threshold: The same.
        max_layers: The same.
    """

    task: str | None = None
    bullets: int = 3
    text_column: str | None = None
    pair_column: str = "text_pair"
    label_column: str | None = None
    limit: int | None = None
    workers: int | None = None
    null_threshold: float = 0.0
    stem: bool = False
    patience: int | None = None
    threshold: float | None = None
    max_layers: int | None = None

    def __post_init__(self) -> None:
        if self.task not in (None, "summarize"):
            raise ConfigError(f"task must be summarize or None, not {self.task!r}.")
        for name in ("limit", "workers", "bullets"):
            value = getattr(self, name)
            left_out = value is None and name != "bullets"
            if not left_out and (type(value) is not int or value < 1):
                raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}.")
        if math.isnan(self.null_threshold):
            raise ConfigError("null_threshold must be a number, not NaN.")
        replace(NEVER, **self.early_exit)  # it tells what cannot be

    @property
    def early_exit(self) -> dict[str, Any]:
        """What is said of when to leave, by the names of `EarlyExit`."""
        names = ("patience", "threshold", "max_layers")
        return {name: one for name in names if (one := getattr(self, name)) is not None}

    @property
    def cores(self) -> int:
        """How many workers there are to be."""
        if self.workers is not None:
            return self.workers
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
