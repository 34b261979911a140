"""Compress ALBERT, convert it to one self-contained `.tflite` file, and measure it on the device.

Importing this package imports neither TensorFlow nor a runtime: each name loads what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "AlbertConfig",
    "AlbertEdgeError",
    "EarlyExit",
    "convert",
    "distill",
    "load",
    "load_keras",
    "load_tokenizer",
]

if TYPE_CHECKING:
    from albert_edge.config import AlbertConfig
    from albert_edge.conversion import convert
    from albert_edge.early_exit import EarlyExit
    from albert_edge.errors import AlbertEdgeError
    from albert_edge.modeling import load_keras
    from albert_edge.pipelines import load
    from albert_edge.tokenizer import load_tokenizer
    from albert_edge.training.distillation.distill_files import distill

_HOMES = {
    "AlbertConfig": "albert_edge.config",
    "AlbertEdgeError": "albert_edge.errors",
    "EarlyExit": "albert_edge.early_exit",
    "convert": "albert_edge.conversion",
    "distill": "albert_edge.training.distillation.distill_files",
    "load": "albert_edge.pipelines",
    "load_keras": "albert_edge.modeling",
    "load_tokenizer": "albert_edge.tokenizer",
}


def import_when_used(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's `__getattr__`, which imports a name from its home when it is used."""

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(homes[name]), name)

    return find


__getattr__ = import_when_used(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
