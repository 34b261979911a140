"""ALBERT as a Keras model, and its construction from a checkpoint."""

from __future__ import annotations

from albert_edge.errors import requires_extra

__all__ = ["Albert", "from_checkpoint", "load_keras"]

with requires_extra():
    from albert_edge.modeling.albert import Albert
    from albert_edge.modeling.load import from_checkpoint, load_keras
