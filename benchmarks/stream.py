"""A benchmark engine that runs texts of many lengths, one after the other, in any other engine."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.benchmark.measure import ENGINE as OURS
from benchmarks import amx

__all__ = ["ENGINE", "Stream", "open_stream", "text_ids"]

ENGINE = "benchmarks.stream:open_stream"
_VOCABULARY, _LONGEST = 30_000, 512  # of ALBERT-base


def text_ids(length: int, seed: int = 20) -> npt.NDArray[np.int32]:
    """Return the ids [T] of a text, the same ones every time."""
    ids = np.random.default_rng(seed).integers(5, _VOCABULARY, _LONGEST)
    return ids[:length].astype(np.int32)


class Stream:
    """A model that takes lengths instead of ids: one "inference" runs a text of each length."""

    def __init__(self, model: Any) -> None:
        self._model = model
        for name in ("bundle", "runtime"):  # some engines have neither
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def run(self, lengths: npt.NDArray[np.int32] | Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """Run texts of int [n] or [1, n] lengths, each in [1, T]; return the logits, [n, 2]."""
        answers = [self._model.run(text_ids(length)) for length in np.ravel(lengths)]
        return {"logits": np.concatenate([next(iter(answer.values())) for answer in answers])}


def open_stream(path: str, *, threads: int = 1, engine: str = OURS, without: str = "") -> Stream:
    """Open a file in an engine, `module:function`; `without` "amx" as if there were no AMX."""
    if without == "amx":
        amx.withhold()
    return Stream(pkgutil.resolve_name(engine)(path, threads=threads))
