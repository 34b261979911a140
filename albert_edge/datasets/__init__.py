"""Read data files: tables, CoNLL, SQuAD; each row becomes an example.

Each name is imported when it is used: options are read without what reads the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from albert_edge import import_when_used

__all__ = [
    "KINDS",
    "DataFile",
    "EvaluateOptions",
    "Examples",
    "FileContent",
    "read_data_file",
    "read_examples",
    "read_text",
]

if TYPE_CHECKING:
    from albert_edge.datasets.examples import (
        KINDS,
        DataFile,
        Examples,
        read_data_file,
        read_examples,
    )
    from albert_edge.datasets.options import EvaluateOptions
    from albert_edge.datasets.tables import FileContent, read_text

_HOMES = {
    "KINDS": "albert_edge.datasets.examples",
    "DataFile": "albert_edge.datasets.examples",
    "Examples": "albert_edge.datasets.examples",
    "read_data_file": "albert_edge.datasets.examples",
    "read_examples": "albert_edge.datasets.examples",
    "EvaluateOptions": "albert_edge.datasets.options",
    "FileContent": "albert_edge.datasets.tables",
    "read_text": "albert_edge.datasets.tables",
}

__getattr__ = import_when_used(__name__, _HOMES)
