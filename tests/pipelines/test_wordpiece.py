"""A file with a WordPiece vocabulary runs on Chinese text."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path

from albert_edge.bundle.bundle import pack, read
from albert_edge.pipelines import load
from albert_edge.tokenizer import load_tokenizer, tokenizer_from_files

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
