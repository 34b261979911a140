"""A real BERT through `convert` and `load`: its sentence embeddings are those of torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from albert_edge import convert, load, load_keras
from rigs.minilm import checkpoint

GOLDEN = Path(__file__).parents[1] / "data" / "minilm_golden.npz"


@pytest.mark.parametrize(
    # Measured: 3e-7 in float32; in int8, weights and activations of 8 bits, 0.02 and 0.9916.
    ("quantize", "difference", "cosine"),
    [("float32", 1e-5, 0.99999), ("int8", 0.03, 0.99)],
)
def test_sentence_embeddings_are_torchs(
    quantize: str, difference: float, cosine: float, built_once: Callable[..., Path]
) -> None:
    source = checkpoint()

    def build(path: Path) -> None:
        convert(load_keras(source), quantize=quantize, verified=False).save(path)

    pipe = load(built_once(f"minilm_{quantize}.tflite", build))
    with np.load(GOLDEN) as golden:
        for text, expected in zip(golden["texts"].tolist(), golden["embeddings"], strict=True):
            found = np.ravel(pipe(text, pooling="mean", normalize=True)["embedding"])
            assert np.abs(found - expected).max() <= difference, text
            assert found @ expected >= cosine, text
