"""A benchmark engine that runs texts of many lengths, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.runtime import Model
from albert_edge.runtime.model import open_model
from benchmarks import amx

__all__ = ["ENGINE", "ENGINE_WITHOUT_AMX", "Stream", "open_stream", "open_stream_without_amx"]

ENGINE = "benchmarks.stream:open_stream"
ENGINE_WITHOUT_AMX = "benchmarks.stream:open_stream_without_amx"


class Stream:
    """A model that takes lengths instead of ids: one "inference" runs a text of each length."""

    def __init__(self, model: Model) -> None:
        self._model, self.bundle, self.runtime = model, model.bundle, model.runtime
        size = model.max_tokens
        self._ids = np.random.default_rng(20).integers(5, model.bundle.config.vocab_size, size)

    def run(self, lengths: npt.NDArray[np.int32] | Sequence[int]) -> dict[str, npt.NDArray[Any]]:
        """Run texts of int [n] or [1, n] lengths, each in [1, T]; return the logits, [n, 2]."""
        answers = [self._model.run(self._ids[:length]) for length in np.ravel(lengths)]
        return {"logits": np.concatenate([answer["logits"] for answer in answers])}


def open_stream(path: str, *, threads: int = 1) -> Stream:
    """Open a file of albert_edge."""
    return Stream(open_model(path, threads=threads))


def open_stream_without_amx(path: str, *, threads: int = 1) -> Stream:
    """Open a file of albert_edge with the kernels for processors without AMX."""
    amx.withhold()
    return open_stream(path, threads=threads)
