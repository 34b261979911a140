"""An engine for `albert_edge.benchmark` that opens any `.tflite` file with one input signature.

`benchmarks.arm` counts with it the instructions of graphs that are cut after an operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Graph:
    """A graph with fixed lengths."""

    def __init__(self, path: str, threads: int) -> None:
        self._interpreter = Interpreter(path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._inputs = self._interpreter.get_input_details()

    def run(self, input_ids: Any) -> dict[str, Any]:
        """Run on int32 [1, T]; other inputs are 1 for a mask, else 0."""
        for one in self._inputs:
            name = one["name"]
            value = np.full(one["shape"], "mask" in name, one["dtype"])
            self._interpreter.set_tensor(one["index"], input_ids if "input_ids" in name else value)
        self._interpreter.invoke()
        last = self._interpreter.get_output_details()[0]
        return {"output": self._interpreter.get_tensor(last["index"])}


def open_graph(path: str, *, threads: int = 1) -> Graph:
    """Open a file."""
    return Graph(path, threads)
