"""Fixtures: tiny models with a tokenizer in the file."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
import sentencepiece

from albert_edge.bundle.bundle import pack, read
from albert_edge.pipelines import Pipeline, load
from albert_edge.tokenizer import tokenizer_from_files

SENTENCES = (
    "the mill by the river was built by a widow in the spring",
    "nobody knows who built the bridge or why it fell",
    "a storm took the roof and the miller took the road",
    "in the autumn her daughter came back with a wheel of oak",
    "who came back to the river and what did she bring",
)


@pytest.fixture(scope="session")
def tokenizer_files() -> Mapping[str, bytes]:
    """A vocabulary of 56 pieces, with the special ids of ALBERT."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=model,
        vocab_size=56,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=2,
    )
    return tokenizer_from_files({"spiece.model": model.getvalue()}).files()


@pytest.fixture(scope="session")
def pipe(
    tiny_tflite: Callable[..., bytes], tokenizer_files: Mapping[str, bytes]
) -> Callable[..., Pipeline]:
    """A function that opens `tiny_tflite(task, **options)` with a tokenizer in it."""

    @cache
    def make(task: str, **options: Any) -> Pipeline:
        blob = tiny_tflite(task, **options)
        return load(pack(blob, dataclasses.replace(read(blob), tokenizer_files=tokenizer_files)))

    return make


@pytest.fixture(scope="module")
def classify(pipe: Callable[..., Pipeline]) -> Pipeline:
    return pipe("classification")
