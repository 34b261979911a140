"""`load` returns the pipeline of a file's task, or raises one clear error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import albert_edge
from albert_edge.bundle.bundle import pack, read
from albert_edge.errors import BundleError, TokenizerError
from albert_edge.pipelines import PIPELINES, load
from albert_edge.tasks import TASKS


def test_every_task_has_a_pipeline() -> None:
    assert set(PIPELINES) == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_task_is_read_from_the_file(
    tiny_tflite: Callable[..., bytes], task: str, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_tflite(task))
    for source in (path, str(path), path.read_bytes()):
        assert type(albert_edge.load(source)) is PIPELINES[task]


def test_missing_file() -> None:
    with pytest.raises(BundleError, match=r"cannot read none\.tflite: No such file"):
        load("none.tflite")


def test_tokenizer_is_damaged(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("classification")
    changed = dataclasses.replace(read(blob), tokenizer_files={"spiece.model": b"?"})
    with pytest.raises(TokenizerError, match=r"spiece\.model in the model"):
        load(pack(blob, changed))


def test_tokenizer_is_larger_than_the_model(
    tiny_tflite: Callable[..., bytes], tokenizer_files: Mapping[str, bytes]
) -> None:
    blob = tiny_tflite("classification", vocab_size=50)
    changed = dataclasses.replace(read(blob), tokenizer_files=tokenizer_files)
    with pytest.raises(BundleError, match="tokenizer has 56 tokens, its model 50"):
        load(pack(blob, changed))
