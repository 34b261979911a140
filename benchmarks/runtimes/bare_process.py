"""A benchmark engine without a runtime, to measure the memory of CPython and NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["open_model"]


class _Nothing:
    def run(self, input_ids: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[Any]]:
        return {}


def open_model(path: str, *, threads: int = 1) -> _Nothing:
    """Open nothing."""
    return _Nothing()
