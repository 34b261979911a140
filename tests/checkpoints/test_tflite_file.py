"""What is read back from one of our files computes what the file computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albert_edge import convert
from albert_edge.checkpoints import read_checkpoint
from albert_edge.errors import CheckpointError
from albert_edge.modeling import from_checkpoint, load_keras
from albert_edge.tasks import TASKS
from albert_edge.verification import verify
from bundle.damaged import changed_manifest

BERTS = Path(__file__).parents[1] / "data/bert_parity"
TWO_GROUPS = {"num_hidden_groups": 2, "inner_group_num": 2, "num_hidden_layers": 4}


def errors(path, blob):
    path.write_bytes(blob)
    figures = verify(path, load_keras(path))
    return [output["error"] for output in figures["outputs"].values()]


@pytest.mark.parametrize("task", TASKS)
def test_every_head(tiny_tflite, tmp_path, task):
    assert max(errors(tmp_path / "m.tflite", tiny_tflite(task))) < 1e-5


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"layout": "split"}, 1e-5),
        ({"layout": "unrolled"}, 1e-5),
        (TWO_GROUPS, 1e-5),
        ({**TWO_GROUPS, "layout": "unrolled"}, 1e-5),
        ({"early_exit": True}, 1e-5),
        ({"early_exit": True, "task": "token-classification"}, 1e-5),
        ({"early_exit": True, "task": "question-answering"}, 1e-5),
        ({"quantize": "float16"}, 1e-5),
        # The file rounds the inputs of its products too.
        ({"quantize": "int8"}, 0.03),
        ({"quantize": "int8", **TWO_GROUPS}, 0.03),
    ],
)
def test_every_layout_and_recipe(tiny_tflite, tmp_path, options, limit):
    assert max(errors(tmp_path / "m.tflite", tiny_tflite(**options))) < limit


@pytest.mark.parametrize("name", ["bert_masks", "distilbert_classification"])
def test_berts(name, tmp_path):
    made = convert(load_keras(BERTS / name), quantize="float32", verified=False)
    assert max(errors(tmp_path / "m.tflite", made.blob)) < 1e-5
    assert read_checkpoint(tmp_path / "m.tflite").config == read_checkpoint(BERTS / name).config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda blob: blob[: len(blob) // 2], r"m\.tflite is damaged: BadZipFile"),
        (lambda blob: _flipped(blob), "is damaged: its SHA-256 differs"),
        (changed_manifest(quantize="int4"), "its quantize is int4 .expected float32"),
        (changed_manifest(seq_len=12), "its seq_len is 12 .expected any"),
        (changed_manifest(target="gpu"), "its target is gpu .expected cpu, android"),
    ],
)
def test_files_that_cannot_be_read_back(tiny_tflite, tmp_path, change, message):
    path = tmp_path / "m.tflite"
    path.write_bytes(change(tiny_tflite()))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def _flipped(blob):
    middle = len(blob) // 3
    return blob[:middle] + bytes([blob[middle] ^ 1]) + blob[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "task", "parameters"),
    [
        ("questions", "question-answering", 7_200_000),
        ("embeddings", "feature-extraction", 4_800_000),
    ],
)
def test_the_embedded_files_are_sources(name, task, parameters):
    checkpoint = read_checkpoint(name)
    assert (checkpoint.task, checkpoint.source) == (task, name)
    size = sum(values.size for values in checkpoint.tensors.values())
    assert abs(size / parameters - 1) < 0.02
    assert np.unique(checkpoint.tensors["embeddings/word_embeddings"]).size <= 256  # int8 codes
    assert ".tflite file in int8" in checkpoint.notes[0]
    # What the file rounds besides: the inputs of its products.
    figures = verify(name, from_checkpoint(checkpoint))
    assert 1e-4 < max(output["error"] for output in figures["outputs"].values()) < 0.03
