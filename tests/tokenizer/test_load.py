"""A tokenizer is found in every kind of source, and what is none says so."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer import load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig
from albert_edge.tokenizer.sentencepiece import SentencePieceTokenizer
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer
from tokenizer.conftest import SENTENCES
from tokenizer.files import fast_file, fast_wordpiece_file
from tokenizer.reference import BERT_GOLDEN, reference_ids


def test_files_make_the_same_tokenizer_again(model: bytes) -> None:
    options = SentencePieceConfig(do_lower_case=False, keep_accents=True)
    files = SentencePieceTokenizer(model, options).files()
    again = tokenizer_from_files({**files, "labels.txt": b"other"})
    assert again.files() == files
    assert list(files) == ["spiece.model", "tokenizer_config.json"]
    text = "  The CAFÉ, 1998, "
    assert again.tokenize(text).ids == reference_ids(text, options, model)


@pytest.mark.parametrize("name", ["spiece.model", "other.bin", "tokenizer.json", "", "m.tflite"])
def test_load_from_every_source(model: bytes, tmp_path: Path, name: str) -> None:
    options = SentencePieceConfig(do_lower_case=False)
    files = SentencePieceTokenizer(model, options).files()
    if name == "m.tflite":
        path = tmp_path / name
        path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(1000))
        with zipfile.ZipFile(path, "a") as bundle:
            for key, blob in files.items():
                bundle.writestr(key, blob)
    else:
        (tmp_path / "tokenizer_config.json").write_bytes(files["tokenizer_config.json"])
        steps = json.loads(fast_file(model))["normalizer"]
        steps["normalizers"] = [s for s in steps["normalizers"] if s["type"] != "Lowercase"]
        blob = fast_file(model, normalizer=steps) if name == "tokenizer.json" else model
        (tmp_path / (name or "spiece.model")).write_bytes(blob)
    tokenizer = load_tokenizer(tmp_path / name)
    for text in ("The Kettle", *SENTENCES):
        assert tokenizer.tokenize(text).ids == reference_ids(text, options, model)


def _nothing(path: Path) -> None:
    pass


def _jpeg(path: Path) -> None:
    path.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 8)


def _bare(path: Path) -> None:
    path.mkdir()


def _empty_bundle(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("labels.txt", "a\nb")


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (_nothing, "none.model", "cannot read .*none.model: No such file"),
        (_jpeg, "picture.model", "picture.model is not a SentencePiece model"),
        (_jpeg, "picture.tflite", "cannot read a tokenizer from .*picture.tflite"),
        (_jpeg, "tokenizer.json", "tokenizer.json is not JSON"),
        (_bare, "folder", "no tokenizer in .*folder: expected one of spiece.model, vocab.txt, tok"),
        (_jpeg, "vocab.txt", r"vocab.txt is not a vocabulary: byte 0 is not UTF-8 text"),
        (_empty_bundle, "m.tflite", "no tokenizer in .*m.tflite: expected one of"),
    ],
)
def test_a_source_without_a_tokenizer(
    tmp_path: Path, make: Callable[[Path], None], name: str, message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(tmp_path / name)


@pytest.mark.parametrize("name", ["vocab.txt", "other.txt", "tokenizer.json", "", "m.tflite"])
def test_load_wordpiece_from_every_source(vocab: bytes, tmp_path: Path, name: str) -> None:
    options = WordPieceConfig(do_lower_case=False, tokenize_chinese_chars=False)
    expected = WordPieceTokenizer(vocab, options)
    files = expected.files()
    if name == "m.tflite":
        with zipfile.ZipFile(tmp_path / name, "w") as bundle:
            for key, blob in files.items():
                bundle.writestr(key, blob)
    else:
        (tmp_path / "tokenizer_config.json").write_bytes(files["tokenizer_config.json"])
        made = {"lowercase": False, "handle_chinese_chars": False}
        blob = fast_wordpiece_file(vocab, **made) if name == "tokenizer.json" else vocab
        (tmp_path / (name or "vocab.txt")).write_bytes(blob)
    tokenizer = load_tokenizer(tmp_path / name)
    for case in BERT_GOLDEN["texts"]:
        assert tokenizer.tokenize(case["text"]) == expected.tokenize(case["text"])
    assert tokenizer.files() == files


def test_what_the_original_reads_goes_first(model: bytes, vocab: bytes) -> None:
    fast = {"tokenizer.json": fast_wordpiece_file(vocab, lowercase=False)}
    both = tokenizer_from_files({**fast, "vocab.txt": vocab})
    assert both.files()["vocab.txt"] == vocab
    assert both.do_lower_case
    assert not tokenizer_from_files(fast).do_lower_case
    three = tokenizer_from_files({**fast, "vocab.txt": vocab, "spiece.model": model})
    assert three.files()["spiece.model"] == model


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("spiece.model", bytes(1 << 24))


def _many(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as bundle:
        for name in ("spiece.model", "vocab.txt", "tokenizer.json"):
            bundle.writestr(name, bytes(23 << 20))


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_bomb, "spiece.model is compressed; TFLite Metadata files are stored plain"),
        (_many, "holds 72351744 bytes of files; at most 67108864 are read"),
        (_huge, "it has over 67,108,864 bytes"),
        (os.mkfifo, "it is a pipe, not a regular file"),
    ],
)
def test_bombs(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    make(path)
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(path)
