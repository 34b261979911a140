"""Foreign files become tensors under this project's names, strictly; and back."""

from __future__ import annotations

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.checkpoints.read import read_checkpoint
from albert_edge.checkpoints.write import write_checkpoint

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]
