"""`albert-edge convert --to`: from any format to any other, and then to the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from albert_edge import cli
from albert_edge.bundle import bundle
from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.write import FORMATS
from albert_edge.cli.convert import _FORMATS

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
