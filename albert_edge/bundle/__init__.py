"""The one file: the model, and its tokenizer, labels, configuration and manifest behind it.

Each name is imported when it is used: a file can be found without what checks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from albert_edge import import_when_used

__all__ = [
    "Bundle",
    "OpenFile",
    "check_flatbuffer",
    "count_operators",
    "has_bundle",
    "locate",
    "model_bytes",
    "output_shapes",
    "product_file",
    "read",
    "read_checked",
]

if TYPE_CHECKING:
    from albert_edge.bundle.archive import OpenFile, locate
    from albert_edge.bundle.bundle import Bundle, has_bundle, model_bytes, read, read_checked
    from albert_edge.bundle.folder import product_file
    from albert_edge.bundle.graph_check import check_flatbuffer, count_operators, output_shapes

_HOMES = {
    "OpenFile": "albert_edge.bundle.archive",
    "locate": "albert_edge.bundle.archive",
    "Bundle": "albert_edge.bundle.bundle",
    "has_bundle": "albert_edge.bundle.bundle",
    "model_bytes": "albert_edge.bundle.bundle",
    "product_file": "albert_edge.bundle.folder",
    "read": "albert_edge.bundle.bundle",
    "read_checked": "albert_edge.bundle.bundle",
    "check_flatbuffer": "albert_edge.bundle.graph_check",
    "count_operators": "albert_edge.bundle.graph_check",
    "output_shapes": "albert_edge.bundle.graph_check",
}

__getattr__ = import_when_used(__name__, _HOMES)
