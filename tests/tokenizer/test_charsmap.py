"""SentencePiece alone, with the compiled rules, makes the tokens that this project's code makes."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import sentencepiece

from albert_edge.tokenizer import library_files, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.base import Tokenizer
from albert_edge.tokenizer.config import CONFIG_FILE, SPIECE_FILE, SentencePieceConfig

TEXTS = (
    "  Caf\u00e9\u00a0au\tlait, na\u00efve Stra\u00dfe, \u0130stanbul ",
    "``quotes'' and ''more``; 'one' `tick`",
    "On March 3, 1999, 1,234 of 5,678 left; in 2009,too.",
    "\uff26\uff55\uff4c\uff4c \uff57\uff49\uff44\uff54\uff48 \ufb01ne \u00bd \u2460 \u2122",
    "zero\u200bwidth, soft\u00adhyphen, bell\u0007, feff\ufeff",
    "\u4e2d\u6587",
    "\ud55c\uad6d\uc5b4, \u03a3\u03c5\u03a3, \u0939\u093f\u0928\u094d\u0926\u0940, \U0001f600",
    "",
)


@pytest.fixture(scope="module")
def compiled() -> tuple[Tokenizer, dict[str, bytes]]:
    embedded = load_tokenizer("default")
    return embedded, library_files(embedded.files())


def alone(files: dict[str, bytes]) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=files[SPIECE_FILE])


@pytest.mark.parametrize("text", TEXTS)
def test_sentencepiece_alone_makes_the_same_tokens(
    compiled: tuple[Tokenizer, dict[str, bytes]], text: str
) -> None:
    original, files = compiled
    assert alone(files).encode(text) == original.tokenize(text).ids


def test_this_project_reads_the_same_tokens_and_spans(
    compiled: tuple[Tokenizer, dict[str, bytes]],
) -> None:
    original, files = compiled
    again = tokenizer_from_files(files)
    for text in TEXTS:
        assert again.tokenize(text) == original.tokenize(text), text


def test_every_character(compiled: tuple[Tokenizer, dict[str, bytes]]) -> None:
    original, files = compiled
    chars = [c for c in map(chr, range(1, 0x30000)) if unicodedata.category(c)[0] != "C"]
    processor = alone(files)
    wrong = [c for c in chars if processor.encode(f"a{c}b") != original.tokenize(f"a{c}b").ids]
    assert not wrong


def test_two_thousand_texts_of_a_dev_set(data_folder: Path) -> None:
    original = load_tokenizer(data_folder / "albert_spm" / "30k-clean.model")
    processor = alone(library_files(original.files()))
    texts = (data_folder / "squad" / "dev-v1.1.from-explorer.json").read_text(encoding="utf-8")
    lines = [texts[at : at + 400] for at in range(0, 800_000, 400)]  # JSON's quotes included
    differing = [line for line in lines if processor.encode(line) != original.tokenize(line).ids]
    assert len(lines) == 2000
    assert not differing


def test_the_rules_follow_the_configuration() -> None:
    config = SentencePieceConfig(do_lower_case=False, keep_accents=True)
    files = {**load_tokenizer("default").files(), CONFIG_FILE: config.to_json()}
    cased, processor = tokenizer_from_files(files), alone(library_files(files))
    text = "Caf\u00e9 ``AB''"
    assert processor.encode(text) == cased.tokenize(text).ids
    assert processor.encode(text) != processor.encode(text.lower())


def test_a_vocabulary_without_sentencepiece_stays() -> None:
    assert library_files({"vocab.txt": b"[PAD]\n"}) == {"vocab.txt": b"[PAD]\n"}
