"""Run a file in LiteRT or tflite-runtime: token ids in, the head's outputs out."""

from __future__ import annotations

from albert_edge.runtime.composed import describe_products, open_products
from albert_edge.runtime.interpreter import open_interpreter, runtime_name
from albert_edge.runtime.model import Model, interpreter_forward, open_model

__all__ = [
    "Model",
    "describe_products",
    "interpreter_forward",
    "open_interpreter",
    "open_model",
    "open_products",
    "runtime_name",
]
