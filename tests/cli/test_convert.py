"""`albert-edge convert`: every format, with fewer pieces, and with a head that is random."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from albert_edge import cli, load
from albert_edge.bundle import bundle
from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.formats import FORMATS
from albert_edge.cli.convert import _FORMATS
from albert_edge.runtime import open_model
from albert_edge.tokenizer import tokenizer_from_files
from cli.commands import PARITY, albert_edge

DATA = Path(__file__).parents[1] / "data"
SOURCE = DATA / "parity/odd_one_type_answers"


def convert(*arguments: object) -> Any:
    return CliRunner().invoke(cli._group, ["convert", *map(str, arguments)])


def test_the_formats_are_those_of_the_library() -> None:
    assert _FORMATS == FORMATS


@pytest.mark.parametrize("to", FORMATS)
def test_a_chain_of_formats_keeps_every_bit(tmp_path: Path, to: str) -> None:
    done = convert(SOURCE, "-o", tmp_path / "there", "--to", to, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["format"], report["task"], report["tensors"]) == (to, "question-answering", 25)
    done = convert(tmp_path / "there", "-o", tmp_path / "back", "--to", "huggingface")
    assert done.exit_code == 0, done.output
    assert "25 tensors from there" in done.stdout
    expected, got = (load_file(p / "model.safetensors") for p in (SOURCE, tmp_path / "back"))
    assert expected.keys() == got.keys()
    assert all(expected[name].tobytes() == got[name].tobytes() for name in expected)


def test_the_same_weights_in_any_format_give_the_same_file(tmp_path: Path) -> None:
    sources = [SOURCE, *(DATA / "foreign" / name for name in ("torch_legacy",))]
    sources += [DATA / "foreign/tf_model_odd_one_type_answers"]
    for to in FORMATS[1:]:
        assert convert(SOURCE, "-o", tmp_path / to, "--to", to).exit_code == 0
        sources.append(tmp_path / to)
    blobs = set()
    for number, source in enumerate(sources):
        output = tmp_path / f"{number}.tflite"
        done = convert(source, "-o", output, "--quantize", "float32", "--no-verify")
        assert done.exit_code == 0, done.output
        blobs.add(bundle.model_bytes(output))
    assert len(blobs) == 1


@pytest.mark.parametrize(
    "option", [["--quantize", "int8"], ["--layout", "loop"], ["--seq-len", "any"], ["--no-verify"]]
)
def test_options_of_tflite_files_are_wrong_usage(tmp_path: Path, option: list[str]) -> None:
    done = convert(SOURCE, "-o", tmp_path / "x", "--to", "keras", *option)
    assert done.exit_code == 2
    assert "is for --to tflite, not for --to keras" in done.stderr
    assert not (tmp_path / "x").exists()


def test_another_formats_checkpoint_is_kept_even_with_force(tmp_path: Path) -> None:
    assert convert(SOURCE, "-o", tmp_path / "x", "--to", "tensorflow1").exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    done = convert(SOURCE, "-o", tmp_path / "x", "--to", "keras", "--force")
    assert done.exit_code == 1
    assert "has a checkpoint of another format (albert_config.json, model.ckpt" in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()} == before
    done = convert(SOURCE, "-o", tmp_path / "x", "--to", "tensorflow1")
    assert (done.exit_code, "exists; give --force" in done.stderr) == (1, True)
    assert convert(SOURCE, "-o", tmp_path / "x", "--to", "tensorflow1", "--force").exit_code == 0


def test_nan_only_when_asked(tmp_path: Path) -> None:
    tensors = load_file(SOURCE / "model.safetensors")
    tensors["qa_outputs.bias"][0] = np.nan
    (tmp_path / "bad").mkdir()
    save_file(tensors, tmp_path / "bad/model.safetensors")
    (tmp_path / "bad/config.json").write_bytes((SOURCE / "config.json").read_bytes())
    done = convert(tmp_path / "bad", "-o", tmp_path / "x", "--to", "keras")
    assert done.exit_code == 1
    assert "NaN or infinity in qa_outputs.bias" in done.stderr
    done = convert(tmp_path / "bad", "-o", tmp_path / "x", "--to", "keras", "--allow-nan")
    assert done.exit_code == 0, done.output
    copy = read_checkpoint(tmp_path / "x", allow_nan=True)
    assert copy.tensors["qa_outputs/bias"].tobytes() == tensors["qa_outputs.bias"].tobytes()


def test_a_random_head_is_asked_for_and_said(tmp_path: Path) -> None:
    source, output = PARITY / "relu_classification", tmp_path / "m.tflite"
    ask = ["convert", source, "-o", output, "--task", "token-classification", "--force"]
    plain = ["convert", PARITY / "gelu_features", "-o", output, "--task", "question-answering"]
    done = albert_edge(*plain)
    assert done.exit_code == 1
    assert "--init-head" in done.stderr
    assert not output.exists()
    shown = albert_edge(*plain, "--init-head").output
    assert "the head is random" in shown
    checked = albert_edge("verify", output, PARITY / "gelu_features", "--json")
    assert json.loads(checked.stdout)["passed"]
    # This one has the tensors: they are read as they are, and nothing is random.
    report = json.loads(albert_edge(*ask, "--init-head", "--json").stdout)
    assert report["provenance"]["drawn"] == []


TEXTS = (
    "A quiet, moving film.",
    "It had 3 dead pixels in 1998, and 9, no more, in 2003.",
    "Naïve café owners in Zürich were bored 🙂.",
)


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
    before = json.loads(albert_edge(*arguments, whole).stdout)
    done = albert_edge(*arguments, small, "--trim-vocabulary", corpus)
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
        assert load(small)(text) == load(whole)(text)
        logits = [
            model.run(tokenizer.encode(text).input_ids)["logits"]
            for model, tokenizer in zip(models, tokenizers, strict=True)
        ]
        np.testing.assert_array_equal(*logits)
    # The device's command, and text that the corpus knows nothing of.
    done = albert_edge("run", small, "Zephyrs vex the quixotic jury.", "--json")
    assert json.loads(done.stdout)["label"] in ("negative", "positive")


def test_in_fewer_bits_and_by_size(tmp_path: Path, corpus: Path) -> None:
    small = tmp_path / "small.tflite"
    trim = ["--trim-vocabulary", corpus, "--vocabulary-size", 8000]
    done = albert_edge("convert", "default", "-o", small, *trim)
    assert done.exit_code == 0, done.output
    assert "trimmed from 20,000 to 8,000 pieces; no token changes" in done.stdout
    assert "saves 4.61 MB of float32" in done.stdout
    assert bundle.read(small).config.vocab_size == 8000
    whole = load("default")
    for text in TEXTS:  # a table without its largest number may be stored in finer steps
        rule = {"patience": 9, "threshold": 2.0}  # all layers, for both
        one, other = whole(text, **rule), load(small)(text, **rule)
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=0.01)
    done = albert_edge("convert", "default", "-o", small, "--force", *trim[:3], 72, "--json")
    figures = figures_of(json.loads(done.stdout))
    assert 0 < figures["tokens_changed"] < figures["tokens_before"] < figures["tokens_after"]


def test_verify_finds_the_rows_in_the_source(tmp_path: Path, corpus: Path) -> None:
    small = tmp_path / "small.tflite"
    assert (
        albert_edge("convert", "default", "-o", small, "--trim-vocabulary", corpus).exit_code == 0
    )
    done = albert_edge("verify", small, "default", "--texts", corpus, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["inputs"] == "3 texts"
    done = albert_edge("verify", small, "albert-base-v2")
    assert done.exit_code == 1
    assert "albert-base-v2 (random weights) has no tokenizer" in done.stderr


@pytest.mark.parametrize("to", FORMATS)
def test_a_checkpoint_goes_in_and_a_smaller_one_comes_out(
    tmp_path: Path, corpus: Path, to: str, ordinary_model: Path
) -> None:
    done = albert_edge(
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
    again = albert_edge("convert", tmp_path / "small", "-o", tmp_path / "small.tflite")
    assert again.exit_code == 0, again.output


def test_what_became_of_a_checkpoint_is_said(tmp_path: Path, corpus: Path) -> None:
    done = albert_edge(
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
    done = albert_edge("convert", "default", "-o", output, "--trim-vocabulary", corpus, *options)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not output.exists()


def test_without_a_tokenizer(tmp_path: Path, corpus: Path) -> None:
    source = PARITY / "relu_classification"
    done = albert_edge("convert", source, "-o", tmp_path / "m.tflite", "--trim-vocabulary", corpus)
    assert done.exit_code == 1
    assert "relu_classification has no tokenizer" in done.stderr


def test_a_size_alone_is_wrong_usage(tmp_path: Path) -> None:
    done = albert_edge("convert", "default", "-o", tmp_path / "m.tflite", "--vocabulary-size", 8000)
    assert done.exit_code == 2
    assert "--vocabulary-size is for --trim-vocabulary CORPUS" in done.stderr


def test_a_target_and_lengths(tmp_path: Path) -> None:
    file = tmp_path / "gpu.tflite"
    done = convert(SOURCE, "-o", file, "--target", "gpu", "--seq-len", "8,16", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    chosen = {key: report[key] for key in ("target", "quantize", "layout", "seq_len", "seq_lens")}
    assert chosen == {
        "target": "gpu",
        "quantize": "float16",
        "layout": "unrolled",
        "seq_len": 16,
        "seq_lens": [8, 16],
    }
    shown = CliRunner().invoke(cli._group, ["inspect", str(file)])
    assert "length 8, 16, target gpu" in " ".join(shown.stdout.split())


def test_a_target_refuses_what_it_cannot_run(tmp_path: Path) -> None:
    done = albert_edge(
        "convert", SOURCE, "-o", tmp_path / "x", "--target", "gpu", "--layout", "loop"
    )
    assert done.exit_code == 1
    assert "--layout loop contradicts --target gpu" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_for_the_edge_tpu_is_written_and_used(tmp_path: Path) -> None:
    folder, texts = tmp_path / "coral", tmp_path / "texts.txt"
    texts.write_text("2 5 9 14 3\n2 7 8 3\n" * 4)
    given = (PARITY / "odd_one_type_answers", "-o", folder, "--target", "edgetpu")
    done = convert(*given, "--calibration", texts, "--seq-len", "8,16", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    products = report["products"]
    assert (products["rows"], products["files"], products["resident"]) == ([8, 16], 8, True)
    assert report["size_bytes"] == sum(path.stat().st_size for path in folder.glob("*.tflite"))
    assert report["provenance"]["calibration"] == {"texts": 8}
    script = (folder / "compile.sh").read_text()
    assert all(path.name in script for path in folder.glob("*_*.tflite"))

    done = convert(*given)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "coral exists; give --force to replace it." in done.stderr
    done = convert(*given, "--force")
    assert done.exit_code == 0, done.output
    assert "4 products of" in done.stdout
    assert "stay on the chip, which has about 7.67 MiB" in done.stdout
    assert not list(folder.glob("*_8.tflite"))

    assert open_model(folder).run([2, 5, 9, 3])["start_logits"].shape == (1, 4)
    done = albert_edge("verify", folder, PARITY / "odd_one_type_answers", "--json")
    assert json.loads(done.stdout)["passed"]
    figures = json.loads(
        albert_edge("inspect", folder, "--accelerator", "edgetpu", "--json").stdout
    )
    assert figures["edgetpu"]["operators"] == figures["edgetpu"]["mapped"] == 4
    assert (
        figures["edgetpu"]["transfers"]["calls"]
        == 4 * figures["bundle"]["config"]["num_hidden_layers"]
    )


def test_weights_that_do_not_fit_on_the_chip_are_said() -> None:
    from albert_edge.cli.console import _render_products

    products = {"rows": [32, 128], "files": 8, "weight_bytes": 14 << 20, "cache_bytes": 8_042_577}
    lines = " ".join(str(one) for one in _render_products({**products, "resident": False}))
    assert "14.00 MiB, do not fit on the chip, which has about 7.67 MiB" in lines
    assert "each length has weights of its own; give one: --seq-len N" in lines
