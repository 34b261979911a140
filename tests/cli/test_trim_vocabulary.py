"""`albert-edge convert --trim-vocabulary`: a smaller file that answers the corpus as before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import albert_edge
from albert_edge import cli
from albert_edge.bundle import bundle
from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.write import FORMATS
from albert_edge.runtime import open_model
from albert_edge.tokenizer import tokenizer_from_files

PARITY = Path(__file__).parents[1] / "data" / "parity"
TEXTS = (
    "A quiet, moving film.",
    "It had 3 dead pixels in 1998, and 9, no more, in 2003.",
    "Naïve café owners in Zürich were bored 🙂.",
)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli._group, list(map(str, arguments)))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n\n".join(TEXTS), "utf-8")
    return path


def figures_of(report: Mapping[str, Any]) -> Mapping[str, Any]:
    figures: Mapping[str, Any] = report["provenance"]["changes"]["vocabulary"]
    return figures


def test_the_file_answers_the_corpus_as_before(tmp_path: Path, corpus: Path) -> None:
    whole, small = tmp_path / "whole.tflite", tmp_path / "small.tflite"
    arguments = ["convert", "default", "--quantize", "float32", "--json", "-o"]
    before = json.loads(run(*arguments, whole).stdout)
    done = run(*arguments, small, "--trim-vocabulary", corpus)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    figures = figures_of(report)
    assert (figures["pieces_before"], figures["texts"], figures["texts_changed"]) == (20000, 3, 0)
    assert figures["pieces_after"] < 130
    # What is said to be saved is what the flatbuffer lacks, but for its own alignment.
    saved = before["model_bytes"] - report["model_bytes"]
    assert saved == pytest.approx(figures["float32_bytes_saved"], abs=64)
    assert before["size_bytes"] - report["size_bytes"] == pytest.approx(
        saved + figures["tokenizer_bytes_saved"], abs=2048
    )
    inside = bundle.read(small)
    assert inside.provenance["changes"]["vocabulary"] == figures
    assert inside.config.vocab_size == figures["pieces_after"]
    models, tokenizers = [open_model(path) for path in (whole, small)], []
    for model in models:
        tokenizers.append(tokenizer_from_files(model.bundle.tokenizer_files))
    for text in TEXTS:
        assert albert_edge.load(small)(text) == albert_edge.load(whole)(text)
        logits = [
            model.run(tokenizer.encode(text).input_ids)["logits"]
            for model, tokenizer in zip(models, tokenizers, strict=True)
        ]
        np.testing.assert_array_equal(*logits)
    # The device's command, and text that the corpus knows nothing of.
    done = run("run", small, "Zephyrs vex the quixotic jury.", "--json")
    assert json.loads(done.stdout)["label"] in ("negative", "positive")


def test_in_fewer_bits_and_by_size(tmp_path: Path, corpus: Path) -> None:
    small = tmp_path / "small.tflite"
    trim = ["--trim-vocabulary", corpus, "--vocabulary-size", 8000]
    done = run("convert", "default", "-o", small, *trim)
    assert done.exit_code == 0, done.output
    assert "trimmed from 20,000 to 8,000 pieces; no token changes" in done.stdout
    assert "saves 4.61 MB of float32" in done.stdout
    assert bundle.read(small).config.vocab_size == 8000
    whole = albert_edge.load("default")
    for text in TEXTS:  # a table without its largest number may be stored in finer steps
        rule = {"patience": 9, "threshold": 2.0}  # all layers, for both
        one, other = whole(text, **rule), albert_edge.load(small)(text, **rule)
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=0.01)
    done = run("convert", "default", "-o", small, "--force", *trim[:3], 72, "--json")
    figures = figures_of(json.loads(done.stdout))
    assert 0 < figures["tokens_changed"] < figures["tokens_before"] < figures["tokens_after"]


def test_verify_finds_the_rows_in_the_source(tmp_path: Path, corpus: Path) -> None:
    small = tmp_path / "small.tflite"
    assert run("convert", "default", "-o", small, "--trim-vocabulary", corpus).exit_code == 0
    done = run("verify", small, "default", "--texts", corpus, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["inputs"] == "3 texts"
    done = run("verify", small, "albert-base-v2")
    assert done.exit_code == 1
    assert "albert-base-v2 (random weights) has no tokenizer" in done.stderr


@pytest.mark.parametrize("to", FORMATS)
def test_a_checkpoint_goes_in_and_a_smaller_one_comes_out(
    tmp_path: Path, corpus: Path, to: str, ordinary_model: Path
) -> None:
    done = run(
        *("convert", ordinary_model, "-o", tmp_path / "small", "--to", to, "--json"),
        *("--trim-vocabulary", corpus),
    )
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)["changes"]["vocabulary"]
    small, whole = read_checkpoint(tmp_path / "small"), read_checkpoint(ordinary_model)
    assert small.config.vocab_size == figures["pieces_after"]
    before, after = (tokenizer_from_files(one.tokenizer_files) for one in (whole, small))
    name = "embeddings/word_embeddings"
    for text in TEXTS:
        one, other = before.encode(text), after.encode(text)
        assert one.offsets == other.offsets
        rows = whole.tensors[name][one.input_ids], small.tensors[name][other.input_ids]
        np.testing.assert_array_equal(*rows)
    again = run("convert", tmp_path / "small", "-o", tmp_path / "small.tflite")
    assert again.exit_code == 0, again.output


def test_what_became_of_a_checkpoint_is_said(tmp_path: Path, corpus: Path) -> None:
    done = run(
        *("convert", "default", "-o", tmp_path / "small", "--to", "keras"),
        *("--trim-vocabulary", corpus),
    )
    assert "trimmed from 20,000 to " in done.stdout
    assert "no token changes" in done.stdout


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"\n \n", [], "the corpus has no text"),
        (b"caf\xe9\n", [], "texts.txt, line 1: not UTF-8"),
        (b"a film", ["--vocabulary-size", "9"], "must be in [67, 20000], not 9"),
        (b"a film", ["--vocabulary-size", "20001"], "must be in [67, 20000], not 20001"),
        (None, [], "No such file"),
    ],
)
def test_what_cannot_be(
    tmp_path: Path, corpus: Path, content: bytes | None, options: list[str], message: str
) -> None:
    corpus.write_bytes(content) if content is not None else corpus.unlink()
    output = tmp_path / "m.tflite"
    done = run("convert", "default", "-o", output, "--trim-vocabulary", corpus, *options)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not output.exists()


def test_without_a_tokenizer(tmp_path: Path, corpus: Path) -> None:
    source = PARITY / "relu_classification"
    done = run("convert", source, "-o", tmp_path / "m.tflite", "--trim-vocabulary", corpus)
    assert done.exit_code == 1
    assert "relu_classification has no tokenizer" in done.stderr


def test_a_size_alone_is_wrong_usage(tmp_path: Path) -> None:
    done = run("convert", "default", "-o", tmp_path / "m.tflite", "--vocabulary-size", 8000)
    assert done.exit_code == 2
    assert "--vocabulary-size is for --trim-vocabulary CORPUS" in done.stderr
