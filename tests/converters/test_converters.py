"""The scripts that people copy work as they stand, on files of each format's own writer."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from albert_edge.bundle import bundle
from albert_edge.checkpoints import read_checkpoint, write_checkpoint

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data"
SOURCE = DATA / "parity/odd_one_type_answers"
SCRIPTS = sorted((ROOT / "converters").glob("*.py"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(script: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(str(ROOT / "converters" / script), run_name="__main__")

    return run


def test_pytorch(run: Callable[..., None], tmp_path: Path) -> None:
    """Written by torch: see tests/data/make_foreign_golden.py."""
    source, output, kept = DATA / "foreign/torch_legacy", tmp_path / "m.tflite", tmp_path / "kept"
    run("pytorch.py", source, output, "--keep", kept)
    assert bundle.read(output).task == "question-answering"
    assert (kept / "model.safetensors").read_bytes()[8:9] == b"{"


def test_tf_model(run: Callable[..., None], tmp_path: Path) -> None:
    """Written by transformers: see tests/data/make_tf_model_golden.py."""
    run("tf_model.py", DATA / "foreign/tf_model_odd_one_type_answers", tmp_path, "float32", "int8")
    found = {path.stem: bundle.read(path).quantize for path in tmp_path.glob("*.tflite")}
    assert found == {"float32": "float32", "int8": "int8"}


def test_tensorflow1(
    run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written by TensorFlow, with a slot of Adam, under Google's names."""
    import tensorflow as tf

    write_checkpoint(tmp_path / "ours", read_checkpoint(SOURCE), to="tensorflow1")
    ours = tf.train.load_checkpoint(str(tmp_path / "ours/model.ckpt-best"))
    values = {name: ours.get_tensor(name) for name in ours.get_variable_to_shape_map()}
    values["cls/squad/output_bias/adam_m"] = values["cls/squad/output_bias"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        for step in (1, 2):
            tf.compat.v1.train.Saver().save(session, str(tmp_path / "albert/model.ckpt"), step)
    shutil.copy(tmp_path / "ours/albert_config.json", tmp_path / "albert")
    run("tensorflow1.py", tmp_path / "albert/model.ckpt-2", tmp_path / "m.tflite")
    assert "1 variables of the optimizer left out" in capsys.readouterr().out
    assert bundle.read(tmp_path / "m.tflite").task == "question-answering"


def test_keras(run: Callable[..., None], tmp_path: Path) -> None:
    run("keras_weights.py", SOURCE, tmp_path / "changed", tmp_path / "m.tflite", "--layers", "2")
    assert bundle.read(tmp_path / "m.tflite").config.num_hidden_layers == 2


def test_hub(run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache as huggingface_hub lays it out; `tests/checkpoints/test_read.py` has the rest."""
    model = tmp_path / "hub/models--somebody--my-albert"
    shutil.copytree(SOURCE, model / "snapshots" / ("0" * 40))
    (model / "refs").mkdir()
    (model / "refs/main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    run("hub.py", "somebody/my-albert", tmp_path / "out", "8", "16")
    lengths = {bundle.read(path).seq_len for path in (tmp_path / "out").iterdir()}
    assert lengths == {8, 16}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_stay_short_and_listed(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 60
    assert f"`{script.name}`" in (ROOT / "converters/README.md").read_text()
