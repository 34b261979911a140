"""A task that a tiny ALBERT learns in seconds."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

GOOD = ("good", "great", "fine", "lovely")
BAD = ("bad", "dull", "weak", "poor")
OTHER = ("film", "plot", "cast", "story", "the", "a", "of", "is")

SHAPE = {
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
def toy_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 texts with one word that tells their class, 0 or 1."""
    drawn = random.Random(3)
    rows = ["text\tlabel"]
    for index in range(120):
        words = [drawn.choice(OTHER) for _ in range(drawn.randint(1, 9))]
        telling = drawn.choice(GOOD if index % 2 else BAD)
        words.insert(drawn.randint(0, len(words)), telling)
        rows.append(f"{' '.join(words)}\t{index % 2}")
    path = tmp_path_factory.mktemp("toy") / "toy.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def toy_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `config.json` of a model that is large enough for `toy_table`."""
    path = tmp_path_factory.mktemp("shape") / "config.json"
    path.write_text(json.dumps(SHAPE))
    return path
