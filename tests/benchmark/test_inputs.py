"""`albert_edge.benchmark.inputs`: exact lengths, and texts for each pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from albert_edge.benchmark.inputs import make_inputs
from albert_edge.bundle.bundle import Bundle, pack, read
from albert_edge.pipelines import load

LENGTHS = (1, 2, 3, 8, 13, 128, 500)


@pytest.fixture(scope="module")
def embedded() -> Bundle:
    return read("default")


@pytest.mark.parametrize("length", LENGTHS)
def test_ids_have_the_length_that_was_asked_for(length: int, embedded: Bundle) -> None:
    inputs = make_inputs(embedded, length)
    assert [len(ids) for ids in inputs.ids] == [length, length, max(1, length // 2)]
    assert len(set(inputs.ids)) == (3 if length > 3 else len(set(inputs.ids)))
    assert make_inputs(embedded, length) == inputs


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_fills_the_length_and_never_exceeds_it(length: int, embedded: Bundle) -> None:
    inputs = make_inputs(embedded, length)
    if inputs.text is None:
        assert length < 8
    else:
        # A word more would have been too many; the longest of the passage has 6 pieces.
        assert length - 6 <= inputs.text_tokens <= length


def test_a_file_without_a_tokenizer_gets_random_ids(tiny_tflite: Callable[..., bytes]) -> None:
    inputs = make_inputs(read(tiny_tflite()), 16)
    assert all(5 <= token < 60 for ids in inputs.ids for token in ids)
    assert len(set(inputs.ids)) == 3
    assert (inputs.text, inputs.text_tokens) == (None, None)


@pytest.mark.parametrize(
    "task",
    [
        "classification",
        "feature-extraction",
        "fill-mask",
        "pretraining",
        "question-answering",
        "sentence-order",
        "summarization",
        "token-classification",
    ],
)
def test_the_pipeline_of_every_task_takes_its_text(
    task: str, embedded: Bundle, tiny_tflite: Callable[..., bytes]
) -> None:
    blob = tiny_tflite(task, vocab_size=embedded.config.vocab_size)
    bundle = dataclasses.replace(read(blob), tokenizer_files=embedded.tokenizer_files)
    inputs = make_inputs(bundle, 32)
    assert load(pack(blob, bundle))(**inputs.text)
    assert 20 < inputs.text_tokens <= 32
