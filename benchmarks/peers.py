"""What others make of the same model, opened by what others open it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ENGINE", "convert_stock", "open_litert"]

ENGINE = "benchmarks.peers:open_litert"


def convert_stock(model: Any, *, quantize: str, seq_len: int) -> bytes:
    """Convert a Keras ALBERT by TensorFlow's own converter: one graph, the layers unrolled.

    Args:
        model: The model.
        quantize: "float32" or "int8" (dynamic range).
        seq_len: T, which the graph's shapes are fixed to.
    """
    import tensorflow as tf

    ids = tf.TensorSpec([1, seq_len], tf.int32, name="input_ids")
    types = tf.TensorSpec([1, seq_len], tf.int32, name="token_type_ids")

    @tf.function(input_signature=[ids, types])  # type: ignore[untyped-decorator]
    def answer(input_ids: Any, token_type_ids: Any) -> Any:
        return model({"input_ids": input_ids, "token_type_ids": token_type_ids})

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [answer.get_concrete_function()], model
    )
    if quantize == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    blob: bytes = converter.convert()
    return blob


class _LiteRT:
    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter

    def run(self, input_ids: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[Any]]:
        for detail in self._interpreter.get_input_details():
            given = input_ids if "input_ids" in detail["name"] else np.zeros_like(input_ids)
            self._interpreter.set_tensor(detail["index"], given)
        self._interpreter.invoke()
        details = self._interpreter.get_output_details()
        return {detail["name"]: self._interpreter.get_tensor(detail["index"]) for detail in details}


def open_litert(path: str | Path, *, threads: int = 1) -> Any:
    """Open any `.tflite` file of fixed shapes with the LiteRT interpreter and its defaults."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    return _LiteRT(interpreter)
