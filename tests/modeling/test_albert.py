"""The model's stages: each can be called alone, and sharing is real."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import albert_edge
from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.checkpoints.init import count_parameters
from albert_edge.checkpoints.tensor_names import tensor_names
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError, ConfigError
from albert_edge.modeling import Albert, from_checkpoint, load_keras
from albert_edge.modeling.layers import tensors
from albert_edge.tasks import TASKS
from modeling.samples import IDS


@pytest.mark.parametrize("task", TASKS)
def test_variables_have_the_canonical_names_and_shapes(
    tiny_albert: Callable[..., Any], task: str
) -> None:
    model = tiny_albert(task, num_hidden_groups=2, inner_group_num=2)
    expected = {tensor.name: tensor.shape for tensor in tensor_names(model.config, task)}
    assert {name: values.shape for name, values in tensors(model).items()} == expected


def test_depth_costs_no_parameters(tiny_albert: Callable[..., Any]) -> None:
    shallow, deep = (tiny_albert("classification", num_hidden_layers=n) for n in (1, 24))
    assert shallow.count_params() == deep.count_params()
    assert deep.count_params() == count_parameters(deep.config, "classification")


@pytest.mark.parametrize("task", TASKS)
def test_the_stages_are_the_whole(tiny_albert: Callable[..., Any], task: str) -> None:
    model = tiny_albert(task)
    hidden = model.embed(IDS, np.zeros_like(IDS))
    for index in range(model.config.num_hidden_layers):
        hidden = model.layer(index, hidden, tf.zeros([2, 1, 1, 4]))
    whole = model({"input_ids": IDS})
    for name, values in model.head(hidden).items():
        np.testing.assert_array_equal(values, whole[name])


def test_padding_changes_nothing(tiny_albert: Callable[..., Any]) -> None:
    model = tiny_albert("question-answering")
    alone = model({"input_ids": IDS[1:, :3]})["start_logits"]
    padded = model({"input_ids": IDS, "attention_mask": (IDS != 0).astype(np.int32)})
    # exp(-10000) is 0, so only the order of summation may differ: a few float32 steps of values
    # around 1.
    np.testing.assert_allclose(padded["start_logits"][1:, :3], alone, atol=2e-6)


def test_dropout_acts_in_training_only(tiny_albert: Callable[..., Any]) -> None:
    config = dataclasses.replace(tiny_albert().config, hidden_dropout_prob=0.5)
    model = Albert(config, task="feature-extraction")
    still, again, moved = (
        model({"input_ids": IDS}, training=training)["last_hidden_state"].numpy()
        for training in (False, False, True)
    )
    assert np.array_equal(still, again)
    assert not np.allclose(still, moved)


def test_gradients_of_every_pass_meet_in_one_layer(tiny_albert: Callable[..., Any]) -> None:
    model = tiny_albert("classification")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model({"input_ids": IDS})["logits"] ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == len(model.weights)
    assert all(gradient is not None for gradient in gradients)


def test_without_a_pooler() -> None:
    config = AlbertConfig(vocab_size=10, hidden_size=8, num_attention_heads=2)
    model = Albert(config, pooler=False)
    assert set(model({"input_ids": IDS})) == {"last_hidden_state"}
    expected = [tensor.name for tensor in tensor_names(config, model.task, pooler=False)]
    assert sorted(tensors(model)) == sorted(expected)


def test_an_unknown_task() -> None:
    config = AlbertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)
    with pytest.raises(ConfigError, match="unknown task 'translation'; choose from feature"):
        Albert(config, task="translation")


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
