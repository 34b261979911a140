"""The settings of Keras that a host program has made change nothing, and stay as they are."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.conversion import convert
from albert_edge.errors import ConfigError
from albert_edge.modeling import from_checkpoint
from albert_edge.modeling.layers import keras_settings, tensors
from albert_edge.training.finetune_files import finetune_files
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.pretraining.masking import Cursor, PretrainBatches
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.trainer import PretrainTrainer
from albert_edge.verification import verify
from language import documents, fresh, words

PARITY = Path(__file__).parents[1] / "data" / "parity"
PRECISION = tf_keras.mixed_precision


@contextmanager
def host(floatx: str = "float32", policy: str | None = None) -> Iterator[None]:
    """A host program with these settings, which must be the same at the end."""
    tf_keras.backend.set_floatx(floatx)
    PRECISION.set_global_policy(policy)
    try:
        yield
        assert tf_keras.backend.floatx() == floatx
        assert PRECISION.global_policy().name == (policy or floatx)
        # A policy that was not set still follows floatx.
        tf_keras.backend.set_floatx("float64")
        assert PRECISION.global_policy().name == (policy or "float64")
    finally:
        tf_keras.backend.set_floatx("float32")
        PRECISION.set_global_policy(None)


HOSTS = {
    "floatx float16": {"floatx": "float16"},
    "floatx float64": {"floatx": "float64"},
    "mixed float16": {"policy": "mixed_float16"},
    "mixed bfloat16": {"policy": "mixed_bfloat16"},
    "float64": {"policy": "float64", "floatx": "float16"},
    "none": {},
}
any_host = pytest.mark.parametrize("settings", HOSTS.values(), ids=HOSTS)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return read_checkpoint(PARITY / "relu_classification")


@pytest.fixture(scope="module")
def expected(checkpoint: Checkpoint) -> bytes:
    return bytes(convert(from_checkpoint(checkpoint), quantize="float32"))


@any_host
def test_a_file_is_the_same_whatever_the_host_has_set(
    settings: dict[str, str], checkpoint: Checkpoint, expected: bytes
) -> None:
    with host(**settings):
        model = from_checkpoint(checkpoint)
        assert {values.dtype for values in tensors(model).values()} == {np.dtype("float32")}
        assert model({"input_ids": [[2, 5, 3]]})["logits"].dtype == tf.float32
        assert bytes(convert(model, quantize="float32")) == expected
        assert verify(expected, model)["passed"]


@any_host
def test_a_training_is_the_same_whatever_the_host_has_set(settings: dict[str, str]) -> None:
    with host():
        whole = pretrain()
    with host(**settings):
        found = pretrain()
    for name, values in whole.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], values)


def pretrain() -> dict[str, np.ndarray]:
    options = PretrainOptions(batch_size=8, max_length=16, mixed_precision="off")
    trainer = PretrainTrainer(fresh(), options)
    batches = PretrainBatches(documents(50, seed=0), words(), batch_size=8, max_length=16, seed=0)
    for _, batch in islice(batches.after(Cursor()), 2):
        trainer.step(batch, rate=0.01)
    return trainer.tensors()


SHORT = FinetuneOptions(epochs=1, batch_tokens=256, max_length=32, sampling=1.0)


@pytest.mark.parametrize("settings", [HOSTS["floatx float16"], HOSTS["mixed float16"]])
def test_fine_tuning_is_the_same_whatever_the_host_has_set(
    settings: dict[str, str], toy_table: Path, toy_shape: Path, tmp_path: Path
) -> None:
    weights = []
    for number, one in enumerate(({}, settings)):
        with host(**one):
            folder = tmp_path / str(number)
            finetune_files(toy_table, folder, config=toy_shape, dev=toy_table, options=SHORT)
        weights.append(read_checkpoint(folder).tensors)
    for name, values in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], values)


def test_models_are_built_in_several_threads(checkpoint: Checkpoint) -> None:
    found: list[set[str]] = []

    def build() -> None:
        with keras_settings("mixed_bfloat16"):
            layers = {from_checkpoint(checkpoint).embeddings.compute_dtype}
        found.append(layers | {from_checkpoint(checkpoint).embeddings.dtype})

    with host(floatx="float16", policy="mixed_float16"):
        threads = [threading.Thread(target=build) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [{"bfloat16", "float32"}] * 4


def test_an_error_leaves_the_settings_as_they_were() -> None:
    program = host(floatx="float16", policy="mixed_float16")
    with program, pytest.raises(ZeroDivisionError), keras_settings():
        raise ZeroDivisionError


def test_a_graph_is_a_config_error(checkpoint: Checkpoint) -> None:
    model = from_checkpoint(checkpoint)
    with tf.Graph().as_default():
        with pytest.raises(ConfigError, match="TensorFlow does not execute eagerly here"):
            from_checkpoint(checkpoint)
        with pytest.raises(ConfigError, match="TensorFlow does not execute eagerly here"):
            convert(model)
    # tf_keras swaps the bases of a class whose instance is asked for in a graph.
    assert model({"input_ids": [[2, 5, 3]]})


@pytest.mark.parametrize("call", ["disable_eager_execution", "disable_v2_behavior"])
def test_the_behaviour_of_tensorflow_1_is_a_config_error(call: str) -> None:
    script = (
        f"import tensorflow as tf; tf.compat.v1.{call}(); import albert_edge\n"
        f"try: albert_edge.load_keras({str(PARITY / 'relu_classification')!r})\n"
        "except albert_edge.errors.ConfigError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    assert "TensorFlow does not execute eagerly here" in done.stdout
