"""Which matrices are compressed, and their int8 codes in a file."""

from __future__ import annotations

from pathlib import Path

from albert_edge.checkpoints import read_checkpoint
from albert_edge.training.compression.int8_weights import is_compressible


def test_what_is_left_alone(toy_model: Path) -> None:
    names = read_checkpoint(toy_model).tensors
    kept = {name for name in names if names[name].ndim == 2 and not is_compressible(name)}
    assert kept == {"classifier/kernel", "embeddings/token_type_embeddings"}
