"""Run a file in LiteRT or tflite-runtime: token ids in, the head's outputs out."""

from __future__ import annotations

from albert_edge.runtime.model import Model, open_model

__all__ = ["Model", "open_model"]
