"""A tokenizer for the texts of `samples`."""

from __future__ import annotations

import pytest

from albert_edge.tokenizer import Tokenizer
from albert_edge.tokenizer.train import train_vocabulary
from training.tasks.samples import TEXT


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_vocabulary([TEXT] * 3, size=60)
