"""A model, what comes with it, and both in one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from albert_edge.bundle.bundle import Bundle, model_bytes, pack, read
from bundle.files import TOKENIZER


@pytest.fixture(scope="module")
def model(tiny_tflite: Callable[..., bytes]) -> bytes:
    return model_bytes(tiny_tflite("classification"))


@pytest.fixture(scope="module")
def bundle(tiny_tflite: Callable[..., bytes]) -> Bundle:
    return dataclasses.replace(read(tiny_tflite("classification")), tokenizer_files=TOKENIZER)


@pytest.fixture(scope="module")
def blob(model: bytes, bundle: Bundle) -> bytes:
    return pack(model, bundle)
