"""Options of evaluation.

The command line reads help and choices from here (`cli.options.options_from`): the first sentence
about an attribute is the help of its option.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from albert_edge.config import ACCELERATORS, check_accelerator
from albert_edge.early_exit import NEVER
from albert_edge.errors import ConfigError

__all__ = ["EvaluateOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """Options of evaluation.

    Attributes:
        task: Score summaries, also those of an encoder without a task.  None for the task that a
            file was made for.
        bullets: Sentences in a summary.
        text_column: Column of the texts.  None for `text` or `sentence`; for articles, `text` or
            `source`, which hold a text or a list of its sentences.
        pair_column: Column of the second texts.  None for `text_pair`, if there is one.
        label_column: Column of the labels.  None for `label`; for summaries, `summary` or
            `target`.
        quoting: Quotation marks in .tsv and .csv.  `auto` reads quoted fields as pandas writes
            them, `none` leaves every mark as it is.
        skip_bad: Skip and count the examples that cannot be used.  Such as a row without a label
            or with a blank text; without this, the first of them is an error.
        limit: Evaluate only the first N examples.  None for all.
        workers: CPU cores to use.  None for all that this process may use; on a GPU, one.
        accelerator: What runs the model: a GPU computes in float32, or in its driver's default
            precision.
        null_threshold: SQuAD 2: margin by which the logits of "no answer" must exceed those of the
            best answer.
        stem: ROUGE: compare word stems (needs the stem extra).
        patience: Early exit: stop when nothing predicted changed for N layers.  This and the
            next two are as in `early_exit.EarlyExit`; None for the file's own setting.
        threshold: Early exit: stop when all that is predicted is this probable.
        max_layers: Early exit: stop after N layers.
    """

    task: str | None = field(default=None, metadata={"choices": ("summarize",)})
    bullets: int = 3
    text_column: str | None = field(
        default=None,
        metadata={"metavar": "NAME", "unset": "text or sentence; articles: text or source"},
    )
    pair_column: str | None = field(
        default=None, metadata={"metavar": "NAME", "unset": "text_pair, if there is one"}
    )
    label_column: str | None = field(
        default=None, metadata={"metavar": "NAME", "unset": "label; summaries: summary or target"}
    )
    quoting: str = field(default="auto", metadata={"choices": ("auto", "none")})
    skip_bad: bool = False
    limit: int | None = field(default=None, metadata={"metavar": "N", "unset": "all"})
    workers: int | None = field(default=None, metadata={"metavar": "N", "unset": "all"})
    accelerator: str = field(default="cpu", metadata={"choices": ACCELERATORS})
    null_threshold: float = 0.0
    stem: bool = False
    patience: int | None = field(default=None, metadata={"metavar": "N", "unset": "the file's"})
    threshold: float | None = field(default=None, metadata={"metavar": "P", "unset": "the file's"})
    max_layers: int | None = field(default=None, metadata={"metavar": "N", "unset": "the file's"})

    def __post_init__(self) -> None:
        if self.task not in (None, "summarize"):
            raise ConfigError(f"task must be summarize or None, not {self.task!r}.")
        if self.quoting not in ("auto", "none"):
            raise ConfigError(f"quoting must be auto or none, not {self.quoting!r}.")
        check_accelerator(self.accelerator)
        for name in ("limit", "workers", "bullets"):
            value = getattr(self, name)
            left_out = value is None and name != "bullets"
            if not left_out and (type(value) is not int or value < 1):
                raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}.")
        if math.isnan(self.null_threshold):
            raise ConfigError("null_threshold must be a number, not NaN.")
        replace(NEVER, **self.early_exit)  # raises ConfigError for values that are not allowed

    @property
    def early_exit(self) -> dict[str, Any]:
        """The early-exit settings that are given, by the field names of `EarlyExit`."""
        names = ("patience", "threshold", "max_layers")
        return {name: one for name in names if (one := getattr(self, name)) is not None}

    @property
    def cores(self) -> int:
        """Number of worker threads."""
        if self.workers is None:  # a GPU is one, however many wait for it
            from albert_edge.benchmark.system import count_usable_cores  # `run` needs no cores

            return count_usable_cores() if self.accelerator == "cpu" else 1
        return self.workers
