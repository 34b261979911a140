"""Files of tiny models, and a tokenizer for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture
def tiny(tiny_tflite, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_tflite())
    return path


@pytest.fixture
def file(tiny_tflite: Callable[..., bytes], tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the file of a tiny model without a tokenizer."""

    def write(task: str, **config: object) -> Path:
        path = tmp_path / f"{task}.tflite"
        path.write_bytes(tiny_tflite(task, **config))
        return path

    return write


@pytest.fixture
def tokenizer_of_words() -> Mapping[str, bytes]:
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the a mill storm fell road ##s . ,"
    return {"vocab.txt": "\n".join(words.split()).encode()}
