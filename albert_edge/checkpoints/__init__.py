"""Read and write checkpoints of Hugging Face, Google and Keras, strictly.

A format's module lists the tensors of its files; `match` turns them into a `Checkpoint` with this
project's names (`tensor_names`); `read` and `write` choose the format.
"""

from __future__ import annotations

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.formats import check_folder, read_checkpoint, write_checkpoint
from albert_edge.checkpoints.init import count_parameters, init_model

__all__ = [
    "Checkpoint",
    "check_folder",
    "count_parameters",
    "init_model",
    "read_checkpoint",
    "write_checkpoint",
]
