"""The one file: the model, and its tokenizer, labels, configuration and manifest behind it."""

from __future__ import annotations

from albert_edge.bundle.archive import OpenFile, locate
from albert_edge.bundle.bundle import Bundle, model_bytes, read, read_checked
from albert_edge.bundle.graph_check import (
    check_flatbuffer,
    layer_names,
    output_shapes,
    signature_names,
)

__all__ = [
    "Bundle",
    "OpenFile",
    "check_flatbuffer",
    "layer_names",
    "locate",
    "model_bytes",
    "output_shapes",
    "read",
    "read_checked",
    "signature_names",
]
