"""What several test files need: small models, converted once a session."""

from __future__ import annotations

import json
import os
import random
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


# A task that a tiny ALBERT learns in seconds.
_GOOD = ("good", "great", "fine", "lovely")
_BAD = ("bad", "dull", "weak", "poor")
_OTHER = ("film", "plot", "cast", "story", "the", "a", "of", "is")

_TOY_SHAPE = {
    "model_type": "albert",
    "vocab_size": 80,
    "embedding_size": 16,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "classifier_dropout_prob": 0.0,
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
        layout: str = "loop",
        quantize: str = "float32",
        seq_len: int | None = None,
        **config: Any,
    ) -> Any:
        from albert_edge.quantization.model import quantize_stages
        from albert_edge.quantization.recipes import get_recipe

        model = tiny_albert(task, **config)
        return quantize_stages(model, get_recipe(quantize), layout=layout, seq_len=seq_len)

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
        from albert_edge.bundle.bundle import Bundle, pack
        from albert_edge.early_exit import default_exit
        from albert_edge.tflite.link import link

        shape = tiny_albert(task, **config).config
        pieces = tiny_pieces(task, layout=layout, quantize=quantize, seq_len=seq_len, **config)
        bundle = Bundle(
            task=task,
            layout=layout,
            quantize=quantize,
            seq_len=seq_len,
            config=shape,
            tokenizer_files={},
            provenance={"source": "random weights"},
            verification=None,
            early_exit=default_exit(3) if shape.early_exit and layout != "unrolled" else None,
        )
        return pack(link(pieces, shape, layout=layout), bundle)

    return make


@pytest.fixture(scope="session")
def toy_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 texts with one word that tells their class, 0 or 1."""
    drawn = random.Random(3)
    rows = ["text\tlabel"]
    for index in range(120):
        words = [drawn.choice(_OTHER) for _ in range(drawn.randint(1, 9))]
        telling = drawn.choice(_GOOD if index % 2 else _BAD)
        words.insert(drawn.randint(0, len(words)), telling)
        rows.append(f"{' '.join(words)}\t{index % 2}")
    path = tmp_path_factory.mktemp("toy") / "toy.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def toy_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `config.json` of a model that is large enough for `toy_table`."""
    path = tmp_path_factory.mktemp("shape") / "config.json"
    path.write_text(json.dumps(_TOY_SHAPE))
    return path


@pytest.fixture(scope="session")
def toy_model(toy_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows `toy_table`, as large as it takes for the converter to quantize."""
    from albert_edge.training.finetune_files import finetune_files
    from albert_edge.training.options import FinetuneOptions

    folder = tmp_path_factory.mktemp("toy_model")
    wide = {"embedding_size": 32, "hidden_size": 32, "intermediate_size": 64}
    (folder / "config.json").write_text(json.dumps({**_TOY_SHAPE, **wide}))
    finetune_files(
        toy_table,
        folder / "toy",
        config=folder / "config.json",
        labels=("negative", "positive"),
        options=FinetuneOptions(
            epochs=20,
            batch_tokens=256,
            learning_rate=0.01,
            max_length=32,
            averaging=0.9,
            sampling=1,
        ),
    )
    return folder / "toy"


@pytest.fixture(scope="session")
def ordinary_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model's checkpoint without its exits."""
    from dataclasses import replace

    from albert_edge.checkpoints import read_checkpoint, write_checkpoint

    whole = read_checkpoint("default")
    tensors = {k: v for k, v in whole.tensors.items() if not k.startswith("exits/")}
    folder = tmp_path_factory.mktemp("ordinary") / "checkpoint"
    config = replace(whole.config, early_exit=False)
    write_checkpoint(folder, replace(whole, config=config, tensors=tensors))
    return folder
