"""Options of pre-training.

The command line reads help, choices and limits from here (`cli.options.options_from`): the first
sentence about an attribute is the help of its option.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from albert_edge.errors import TrainingError
from albert_edge.training.options import PRECISIONS, check_fields

__all__ = ["PretrainOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainOptions:
    """Options of pre-training; the defaults suit a small model.

    Attributes:
        steps: Number of weight updates.
        batch_size: Texts, or pairs of segments, per update.
        max_length: Tokens of a text or pair, special ones included.
        optimizer: Optimizer: LAMB or AdamW.
        learning_rate: Peak learning rate.  It decays linearly to zero.
        warm_up: Fraction of the steps in which the learning rate rises.
        weight_decay: Weight decay, not applied to biases and normalizations.
        accumulate: Compute a batch in this many parts, to save memory.
        mixed_precision: bfloat16 products with float32 weights; auto uses them where the hardware
            supports them.
        examine_every: Steps between evaluations on --dev.
        save_every_s: Least seconds between two saves of the training state.
        seed: Random seed.  The same seed gives the same model on the same machine.
    """

    steps: int = field(default=10_000, metadata={"min": 1})
    batch_size: int = field(default=128, metadata={"min": 1})
    max_length: int = field(default=128, metadata={"min": 8})
    optimizer: str = field(default="lamb", metadata={"choices": ("lamb", "adamw")})
    learning_rate: float = 5e-3
    warm_up: float = field(default=0.05, metadata={"min": 0, "below": 1})
    weight_decay: float = field(default=0.01, metadata={"min": 0, "below": 1})
    accumulate: int = field(default=1, metadata={"min": 1})
    mixed_precision: str = field(default="auto", metadata={"choices": PRECISIONS})
    examine_every: int = field(default=500, metadata={"min": 1})
    save_every_s: float = 120.0
    seed: int = field(default=0, metadata={"min": 0})

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.save_every_s >= 0:  # also of NaN
            raise TrainingError(f"save_every_s must be at least 0, not {self.save_every_s}.")
        if self.batch_size % self.accumulate:
            raise TrainingError(
                f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}."
            )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise TrainingError(f"learning_rate must be above 0, not {self.learning_rate}.")

    def rate(self, step: int) -> float:
        """Return the learning rate of step number `step`, from 0."""
        warm = self.warm_up * self.steps
        rising = (step + 1) / warm if step + 1 < warm else 1.0
        return self.learning_rate * min(rising, (self.steps - step) / (self.steps - warm))
