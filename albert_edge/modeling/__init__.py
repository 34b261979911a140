"""The weight-shared Keras ALBERT."""

from __future__ import annotations

from albert_edge.modeling.albert import Albert

__all__ = ["Albert"]
