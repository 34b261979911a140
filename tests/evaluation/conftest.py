"""Fixtures: files of tiny models with a tokenizer, and data files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from albert_edge.bundle.bundle import pack, read

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a mill storm fell road river took ##s who what . , ?"


@pytest.fixture
def model(tiny_tflite: Callable[..., bytes], tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the file of `tiny_albert(task, **options)` with a tokenizer in it."""

    def write(task: str, name: str = "m.tflite", **options: Any) -> Path:
        blob = tiny_tflite(task, **options)
        files = {"vocab.txt": "\n".join(WORDS.split()).encode()}
        path = tmp_path / name
        path.write_bytes(pack(blob, dataclasses.replace(read(blob), tokenizer_files=files)))
        return path

    return write
