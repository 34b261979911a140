"""The engine that measurements are taken with: our own runtime, imported whole."""

from __future__ import annotations

from albert_edge.runtime import open_model
from albert_edge.runtime.interpreter import runtime_name

__all__ = ["open_model"]

# The runtime looks for LiteRT when it opens the first model.  Look now: the library's code belongs
# to the empty process, and the time it takes to the import.
runtime_name()
