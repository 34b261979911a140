"""Foreign files become tensors under this project's names, strictly; and back."""

from __future__ import annotations

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.huggingface import write_checkpoint
from albert_edge.checkpoints.sources import read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]
