"""When a classifier has seen enough: the rule by which a file leaves its loop over the layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from albert_edge.errors import ConfigError

__all__ = ["NEVER", "EarlyExit", "default_exit"]

_INT32_MAX = 2**31 - 1  # it is an int32 in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyExit:
    """When to leave: at the first pass where one of the three holds, and after the last one.

    After every pass a classifier of its own says what it would answer.  Patience is the rule of
    PABEE (Zhou et al. 2020, arXiv:2006.04152, sec. 3.2), the threshold the older one of
    BranchyNet (Teerapittayanon et al. 2016, arXiv:1709.01686), but on the likeliest label's
    probability.

    Attributes:
        patience: Leave when so many passes in a row have said what the pass before them said; at
            least 1.  As many as there are layers, or more, never is.
        threshold: Leave when the likeliest label has at least this probability; above 1 never is.
        max_layers: Leave after so many passes whatever they say; None for all.

    Example:
        >>> EarlyExit(patience=3, threshold=0.9).max_layers is None
        True
    """

    patience: int
    threshold: float
    max_layers: int | None = None

    def __post_init__(self) -> None:
        for name in ("patience", "max_layers"):
            value = getattr(self, name)
            if name == "max_layers" and value is None:
                continue
            if type(value) is not int or not 1 <= value <= _INT32_MAX:
                raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}.")
        number = isinstance(self.threshold, (int, float)) and type(self.threshold) is not bool
        if not number or not (self.threshold >= 0 and math.isfinite(self.threshold)):
            raise ConfigError(
                f"threshold must be a probability, or above 1 for never, not {self.threshold!r}."
            )

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a signature takes: each of the three, [1]."""
        most = _INT32_MAX if self.max_layers is None else self.max_layers
        return {
            "patience": np.array([self.patience], np.int32),
            "threshold": np.array([self.threshold], np.float32),
            "max_layers": np.array([most], np.int32),
        }

    def enough(self, logits: npt.NDArray[np.float32]) -> bool:
        """Tell whether to leave after passes that said `logits`, float32 [passes, C].

        A file tells it by itself, except where its layout leaves the passes to the host.
        """
        answers = logits.argmax(axis=1)
        others = np.flatnonzero(answers != answers[-1])
        same = len(answers) - 1 - (others[-1] + 1 if others.size else 0)
        powers = np.exp(logits[-1] - logits[-1].max())
        sure = powers.max() / powers.sum() >= np.float32(self.threshold)
        return bool(same >= self.patience or sure or len(answers) == self.max_layers)


NEVER = EarlyExit(patience=_INT32_MAX, threshold=2.0)


def default_exit(passes: int) -> EarlyExit:
    """Return the rule for who names none: patience alone, of half the passes.

    Zhou et al. 2020, sec. 4.4, find 6 of ALBERT-base's 12 to lose nothing.
    """
    return EarlyExit(patience=max(1, passes // 2), threshold=NEVER.threshold)
