"""The rule of early exit, written again from its paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.early_exit import EarlyExit


def passes_by_hand(logits: npt.NDArray[Any], rule: EarlyExit) -> int:
    """Count the passes that `rule` makes, as Zhou et al. 2020 write it: a counter, reset to 0."""
    counter, previous = 0, None
    for made, row in enumerate(logits, 1):
        shares = np.exp(row) / np.exp(row).sum()
        answer = int(np.argmax(row))
        counter = counter + 1 if answer == previous else 0
        previous = answer
        if counter >= rule.patience or shares.max() >= rule.threshold or made == rule.max_layers:
            return made
    return len(logits)
