"""The int8 matrices that a checkpoint's file stores, beside the ones that it should."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from albert_edge.bundle.bundle import model_bytes
from albert_edge.checkpoints import Checkpoint
from albert_edge.conversion import convert
from albert_edge.modeling.albert import from_checkpoint
from albert_edge.tflite.graph import parse, schema, tensor_bytes
from albert_edge.training.compression.int8_weights import int8_codes, is_compressible

_LAYER = "encoder/group_0/layer_0"


def stored_matrices(checkpoint: Checkpoint) -> list[np.ndarray]:
    """Return the large int8 constants of the checkpoint's `int8` file, as stored."""
    model = parse(model_bytes(convert(from_checkpoint(checkpoint), quantize="int8").blob))
    return [
        np.frombuffer(tensor_bytes(model, tensor), np.int8).reshape(tensor.shape.tolist())
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.type == schema.TensorType.INT8 and np.prod(tensor.shape) >= 1024
    ]


def expected_matrices(checkpoint: Checkpoint) -> Iterator[np.ndarray]:
    """Yield the codes of the matrices of a model with one layer, as a `.tflite` lays them out."""
    codes = {
        name: int8_codes(checkpoint.tensors, name)
        for name in checkpoint.tensors
        if is_compressible(name)
    }
    for name in ("word_embeddings", "position_embeddings"):
        yield codes[f"embeddings/{name}"]
    attention = [f"attention/{part}" for part in ("query", "key", "value", "output")]
    for part in (*attention, "ffn/intermediate", "ffn/output"):
        yield codes[f"{_LAYER}/{part}/kernel"].T
    yield codes["embeddings/projection/kernel"].T
    yield codes["pooler/kernel"].T


def assert_stored(checkpoint: Checkpoint, *, off: int = 0) -> None:
    """Check that the file stores the codes that follow from the checkpoint, or `off` by so many.

    A number halfway between two codes may be rounded to either; a zero is a zero.
    """
    stored, expected = stored_matrices(checkpoint), list(expected_matrices(checkpoint))
    assert len(stored) == len(expected)
    for matrix in expected:
        wide = matrix.astype(np.int32)
        alike = [other for other in stored if other.shape == matrix.shape]
        assert any(np.abs(wide - other).max() <= off for other in alike)
