"""What several test files need: small models, converted once a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A deadline is a timed assertion: it fails on a busy machine.
settings.register_profile("albert_edge", deadline=None)
settings.load_profile("albert_edge")

TINY = {
    "vocab_size": 60,
    "embedding_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,  # so that outputs depend on their inputs
    "labels": ("negative", "neutral", "positive"),
}


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data and weights, or a skip."""
    folder = os.environ.get("ALBERT_EDGE_DATA")
    if not folder:
        pytest.skip("ALBERT_EDGE_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_albert() -> Callable[..., Any]:
    """A function `tiny_albert(task, **config)` that makes a random Keras model, always the same."""

    @cache
    def make(task: str = "classification", **config: Any) -> Any:
        import tf_keras

        from albert_edge.config import AlbertConfig
        from albert_edge.modeling import Albert

        tf_keras.utils.set_random_seed(7)
        model = Albert(AlbertConfig(**{**TINY, **config}), task=task)
        for variable in model.weights:
            # Biases begin at 0, where a mistake in them would not show.
            variable.assign_add(0.05 * tf_keras.backend.random_normal(variable.shape, seed=1))
        return model

    return make


@pytest.fixture(scope="session")
def tiny_pieces(tiny_albert: Callable[..., Any]) -> Callable[..., Any]:
    """A function that converts the stages of `tiny_albert(task, **config)`, each once."""

    @cache
    def make(
        task: str = "classification",
        *,
        quantize: str = "float32",
        seq_len: int | None = None,
        **config: Any,
    ) -> Any:
        from albert_edge.compression.recipes import recipe
        from albert_edge.lite.pieces import make_pieces

        return make_pieces(tiny_albert(task, **config), recipe(quantize), seq_len=seq_len)

    return make


@pytest.fixture(scope="session")
def tiny_tflite(
    tiny_albert: Callable[..., Any], tiny_pieces: Callable[..., Any]
) -> Callable[..., bytes]:
    """A function that makes the file of `tiny_albert(task, **config)`, without a tokenizer."""

    @cache
    def make(
        task: str = "classification",
        *,
        layout: str = "loop",
        quantize: str = "float32",
        seq_len: int | None = None,
        **config: Any,
    ) -> bytes:
        from albert_edge.bundle import Bundle, pack
        from albert_edge.lite.linker import link

        shape = tiny_albert(task, **config).config
        pieces = tiny_pieces(task, quantize=quantize, seq_len=seq_len, **config)
        bundle = Bundle(
            task=task,
            layout=layout,
            quantize=quantize,
            seq_len=seq_len,
            config=shape,
            tokenizer_files={},
            provenance={"source": "random weights"},
            verification=None,
        )
        return pack(link(pieces, shape, layout=layout), bundle)

    return make
