"""A benchmark engine that runs any `.tflite` file of fixed shapes directly in LiteRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

__all__ = ["ENGINE", "LiteRT", "open_litert"]

ENGINE = "benchmarks.litert:open_litert"


class LiteRT:
    """A default interpreter; it gets `input_ids`, and 0 for every other input."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter

    def run(self, input_ids: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[Any]]:
        """Run int32 [1, T] ids; return the outputs by name."""
        ids = np.atleast_2d(np.asarray(input_ids, np.int32))  # [1, T]
        for detail in self._interpreter.get_input_details():
            given = ids if "input_ids" in detail["name"] else np.zeros_like(ids)
            self._interpreter.set_tensor(detail["index"], given)
        self._interpreter.invoke()
        details = self._interpreter.get_output_details()
        return {detail["name"]: self._interpreter.get_tensor(detail["index"]) for detail in details}


def open_litert(path: str | Path, *, threads: int = 1) -> LiteRT:
    """Open a file and allocate its tensors."""
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    return LiteRT(interpreter)
