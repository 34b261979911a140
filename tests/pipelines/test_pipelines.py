"""`load` returns the pipeline of a file's task, or raises one clear error."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import albert_edge
from albert_edge.bundle.bundle import pack, read
from albert_edge.errors import BundleError, TokenizerError
from albert_edge.pipelines import PIPELINES, load
from albert_edge.tasks import TASKS
from albert_edge.tokenizer import load_tokenizer, tokenizer_from_files


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


VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "paris", "capital", "bad", "un", "##bad"),
    *"巴黎是不法国的。!",
]


def test_a_file_with_wordpiece_inside_runs(
    tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    tokenizer = tokenizer_from_files({"vocab.txt": "\n".join(VOCABULARY).encode()})
    blob = tiny_tflite("classification")
    blob = pack(blob, dataclasses.replace(read(blob), tokenizer_files=tokenizer.files()))
    front = blob[: blob.index(b"PK\3\4")]
    assert front.count(b"vocab.txt") == 2  # the associated file, and the tokenizer's
    path = tmp_path / "m.tflite"
    path.write_bytes(blob)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("vocab.txt") == tokenizer.files()["vocab.txt"]
    again = load_tokenizer(path)
    text = "Paris 是法国的 capital 。"
    assert again.encode(text) == tokenizer.encode(text)
    pipe = load(path)
    ids = tokenizer.encode(text).input_ids
    assert pipe(text) == pipe(input_ids=ids)
    assert pipe(text) != pipe("不 bad !")
