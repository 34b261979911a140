"""Which epoch's model is kept, and when there is no use in another one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from albert_edge.errors import TrainingError

__all__ = ["KEEP", "Selection", "best_epoch", "is_over"]

KEEP = ("last", "best")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """How a dev set chooses.

    Attributes:
        keep: `last` epoch's model, for which the learning rate is planned, or the `best` one's.
        patience_epochs: How many epochs in a row may fail to beat the best one before the training
            ends; None for any number.
    """

    keep: str = "last"
    patience_epochs: int | None = None

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise TrainingError(f"keep must be one of {', '.join(KEEP)}, not {self.keep!r}.")
        if self.patience_epochs is not None and self.patience_epochs < 1:
            raise TrainingError(f"patience_epochs must be at least 1, not {self.patience_epochs}.")

    @property
    def needs_dev(self) -> bool:
        """Whether there is something to choose."""
        return self != Selection()


def best_epoch(epochs: Sequence[Mapping[str, Any]]) -> int:
    """Return the place of the epoch with the highest `dev_score`, the first of several.

    A score of None, where the metric is undefined, is the lowest.
    """
    return max(range(len(epochs)), key=lambda at: _score(epochs[at]))


def is_over(epochs: Sequence[Mapping[str, Any]], selection: Selection) -> bool:
    """Tell whether a training ends after these epochs, though more were planned."""
    patience = selection.patience_epochs
    return patience is not None and len(epochs) > best_epoch(epochs) + patience


def _score(epoch: Mapping[str, Any]) -> float:
    score = epoch["dev_score"]
    return -math.inf if score is None else float(score)
