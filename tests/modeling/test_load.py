"""A checkpoint becomes a Keras model that knows where it comes from."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import albert_edge
from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.errors import CheckpointError
from albert_edge.modeling import from_checkpoint, load_keras
from albert_edge.modeling.layers import tensors

PARITY = Path(__file__).parents[1] / "data" / "parity"


def test_the_models_tensors_are_the_checkpoints() -> None:
    checkpoint = read_checkpoint(PARITY / "inner_two_classification")
    values = tensors(from_checkpoint(checkpoint))
    assert values.keys() == checkpoint.tensors.keys()
    assert all(np.array_equal(values[name], checkpoint.tensors[name]) for name in values)


def test_a_model_can_be_written_back(tmp_path: Path) -> None:
    source = PARITY / "relu_classification"
    model = load_keras(source)
    checkpoint = Checkpoint(config=model.config, task=model.task, tensors=tensors(model))
    write_checkpoint(tmp_path / "copy", checkpoint)
    again = read_checkpoint(tmp_path / "copy").tensors
    assert all(np.array_equal(again[k], v) for k, v in read_checkpoint(source).tensors.items())


def test_provenance_and_tokenizer(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PARITY / "pretraining_features", tmp_path / "mine"))
    words = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
    (folder / "vocab.txt").write_bytes(words)
    model = albert_edge.load_keras(folder, task="feature-extraction")
    assert model.task == "feature-extraction"
    assert model.tokenizer_files == {"vocab.txt": words}
    provenance = json.loads(json.dumps(dict(model.provenance)))
    weights = (folder / "model.safetensors").read_bytes()
    assert provenance["sha256"] == hashlib.sha256(weights).hexdigest()
    assert provenance["source"] == "mine"  # no path of this machine
    assert len(provenance["left_out"]) == 7


def test_tensors_that_do_not_fit() -> None:
    checkpoint = read_checkpoint(PARITY / "gelu_features")
    values = {**checkpoint.tensors, "pooler/bias": np.zeros(3, np.float32)}
    bad = Checkpoint(config=checkpoint.config, task=checkpoint.task, tensors=values)
    with pytest.raises(CheckpointError, match=r"pooler/bias has shape \[3\], expected \[24\]"):
        from_checkpoint(bad)


def test_without_tensorflow() -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import albert_edge\n"
        "from albert_edge.errors import MissingExtraError\n"
        "try: albert_edge.load_keras('albert-base-v2')\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "tensorflow is not installed, and this needs it. "
        "Install it with: pip install 'albert_edge[convert]'\n"
    )


def test_reading_a_checkpoint_needs_no_tensorflow() -> None:
    code = (
        "import sys; from albert_edge.checkpoints import read_checkpoint\n"
        f"read_checkpoint({str(PARITY / 'gelu_features')!r})\n"
        "print([name for name in sys.modules if name.startswith(('tensorflow', 'tf_keras'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
