"""The rule of early exit, written again from its paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.early_exit import EarlyExit


def passes_by_hand(logits: npt.NDArray[Any], rule: EarlyExit) -> int:
    """Count the passes that `rule` makes, as Zhou et al. 2020 write it: a counter, reset to 0.

    `logits` are float [passes, C], or [passes, D, C] where a pass predicts D things.
    """
    counter, previous = 0, None
    for made, rows in enumerate(logits, 1):
        answer, least = [], 1.0
        for row in np.atleast_2d(rows):
            answer.append(int(np.argmax(row)))
            least = min(least, float((np.exp(row) / np.exp(row).sum()).max()))
        counter = counter + 1 if answer == previous else 0
        previous = answer
        if counter >= rule.patience or least >= rule.threshold or made == rule.max_layers:
            return made
    return len(logits)
