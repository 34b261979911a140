"""How to pre-train."""

from __future__ import annotations

import math
from dataclasses import dataclass

from albert_edge.errors import TrainingError
from albert_edge.training.options import PRECISIONS

__all__ = ["OPTIMIZERS", "PretrainOptions"]

OPTIMIZERS = ("lamb", "adamw")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainOptions:
    """How to pre-train; the defaults suit a small model.

    Attributes:
        steps: How many updates.
        batch_size: Pairs of segments in an update.
        max_length: Tokens of a pair, special ones included.
        optimizer: One of `OPTIMIZERS`.
        learning_rate: The highest one; it falls to zero in a straight line.
        warm_up: The share of the steps in which it rises.
        weight_decay: Not on biases and normalizations.
        accumulate: In how many parts a batch is computed, where it does not fit into memory.
        mixed_precision: One of `PRECISIONS`: bfloat16 products over float32 weights; auto takes
            them where the machine is made for them.
        examine_every: Steps between two examinations on held-out text.
        save_every_s: The least seconds between two savings.
        seed: The same seed gives the same model on the same machine.
    """

    steps: int = 10_000
    batch_size: int = 128
    max_length: int = 128
    optimizer: str = "lamb"
    learning_rate: float = 5e-3
    warm_up: float = 0.05
    weight_decay: float = 0.01
    accumulate: int = 1
    mixed_precision: str = "auto"
    examine_every: int = 500
    save_every_s: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch_size": 1, "max_length": 8, "accumulate": 1, "examine_every": 1}
        for name, bound in {**least, "seed": 0, "save_every_s": 0}.items():
            if not (value := getattr(self, name)) >= bound:  # NaN is no number of seconds
                raise TrainingError(f"{name} must be at least {bound}, not {value}.")
        if self.batch_size % self.accumulate:
            raise TrainingError(
                f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}."
            )
        for name, choices in (("optimizer", OPTIMIZERS), ("mixed_precision", PRECISIONS)):
            if (value := getattr(self, name)) not in choices:
                raise TrainingError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise TrainingError(f"learning_rate must be above 0, not {self.learning_rate}.")
        for name in ("warm_up", "weight_decay"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise TrainingError(f"{name} must be in [0, 1), not {value}.")

    def rate(self, step: int) -> float:
        """Return the learning rate of step number `step`, from 0."""
        warm = self.warm_up * self.steps
        rising = (step + 1) / warm if step + 1 < warm else 1.0
        return self.learning_rate * min(rising, (self.steps - step) / (self.steps - warm))
