"""The weight-shared Keras ALBERT."""

from __future__ import annotations

from albert_edge.errors import MissingExtraError

try:
    from albert_edge.modeling.albert import Albert
    from albert_edge.modeling.load import from_checkpoint, load_keras
except ModuleNotFoundError as error:
    if error.name not in ("tensorflow", "tf_keras"):
        raise
    raise MissingExtraError(error.name, "convert") from error

__all__ = ["Albert", "from_checkpoint", "load_keras"]
