"""Early exit: the rule by which a model stops before its last layer.

A file with a loop over the layers evaluates the rule itself; where the host runs the layers, the
host calls `EarlyExit.should_exit` after each pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from albert_edge.errors import ConfigError

if TYPE_CHECKING:  # the command line's options import this module, and --help needs no NumPy
    import numpy as np
    import numpy.typing as npt

__all__ = ["NEVER", "EarlyExit", "default_exit"]

_INT32_MAX = 2**31 - 1  # patience and max_layers are int32 in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyExit:
    """An early-exit rule: stop after the first pass that meets one of three conditions.

    Every pass has its own head, which predicts the label of a text; or the label of every token; or
    the first and the last token of an answer.  Patience is the rule of PABEE (Zhou et al. 2020,
    arXiv:2006.04152, sec. 3.2).  The threshold is that of BranchyNet (Teerapittayanon et al. 2016,
    arXiv:1709.01686), but applied to the probability of the most likely label.  Where a pass
    predicts several things, all of them must be unchanged, and the least probable of them must
    reach the threshold.

    Attributes:
        patience: Exit when this many passes in a row have predicted the same as the pass before
            them; at least 1.  The number of layers, or more, disables the condition.
        threshold: Exit when what is predicted has at least this probability; a value above 1
            disables the condition.
        max_layers: Exit after this many passes in any case; None for no limit.

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
                f"threshold must be a probability, or above 1 for none, not {self.threshold!r}."
            )

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the inputs of a signature: int32 [1], but for `threshold`, float32 [1]."""
        import numpy as np

        most = _INT32_MAX if self.max_layers is None else self.max_layers
        return {
            "patience": np.array([self.patience], np.int32),
            "threshold": np.array([self.threshold], np.float32),
            "max_layers": np.array([most], np.int32),
        }

    def should_exit(self, logits: npt.NDArray[np.float32]) -> bool:
        """Return whether to exit after passes with these `logits`, float32 [passes, ..., C].

        Each row of C logits predicts one thing: one row for a text's label, one for every token's
        label, or two for the first and the last of C tokens.
        """
        import numpy as np

        labels = logits.argmax(axis=-1).reshape(len(logits), -1)  # [passes, D]
        others = np.flatnonzero((labels != labels[-1]).any(axis=1))
        same = len(labels) - 1 - (others[-1] + 1 if others.size else 0)
        powers = np.exp(logits[-1] - logits[-1].max(axis=-1, keepdims=True))
        least = (powers.max(axis=-1) / powers.sum(axis=-1)).min()
        confident = least >= np.float32(self.threshold)
        return bool(same >= self.patience or confident or len(labels) == self.max_layers)


NEVER = EarlyExit(patience=_INT32_MAX, threshold=2.0)


def default_exit(passes: int) -> EarlyExit:
    """Return the default rule: a patience of half the passes, without a threshold.

    With patience 6, ALBERT-base with its 12 passes loses no accuracy in Zhou et al. 2020, sec. 4.4.
    """
    return EarlyExit(patience=max(1, passes // 2), threshold=NEVER.threshold)
