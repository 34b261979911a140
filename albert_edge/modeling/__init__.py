"""ALBERT as a Keras model, and its construction from a checkpoint."""

from __future__ import annotations

from albert_edge.errors import requires_extra

__all__ = [
    "MASKED",
    "Albert",
    "AlbertLayer",
    "activation",
    "assign",
    "canonical_name",
    "from_checkpoint",
    "keras_settings",
    "load_keras",
    "tensors",
]

with requires_extra():
    from albert_edge.modeling.albert import MASKED, Albert, AlbertLayer, from_checkpoint, load_keras
    from albert_edge.modeling.layers import (
        activation,
        assign,
        canonical_name,
        keras_settings,
        tensors,
    )
