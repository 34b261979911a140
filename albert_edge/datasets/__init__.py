"""Read data files: tables, CoNLL, SQuAD; each row becomes an example."""

from __future__ import annotations

from albert_edge.datasets.examples import KINDS, DataFile, Examples, read_data_file, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.datasets.tables import FileContent, read_text

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
