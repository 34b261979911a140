"""What may be named as the source of weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.init import init_model
from albert_edge.checkpoints.read import is_hub_id
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError, ConfigError

PARITY = Path(__file__).parents[1] / "data" / "parity"


@pytest.mark.parametrize(
    "source", ["nowhere", "albert-base-v9", "./albert/v2", "/a/b", "../a", "a/b/c", "a" * 999]
)
def test_unknown_sources_list_what_there_is(source: str) -> None:
    with pytest.raises(CheckpointError, match=r"is not a directory.*'default'.*albert-base-v1"):
        read_checkpoint(source)


def test_a_file_is_not_a_source() -> None:
    with pytest.raises(CheckpointError, match="is a file, and a checkpoint is a directory"):
        read_checkpoint(PARITY / "gelu_features" / "model.safetensors")


def test_unknown_tasks() -> None:
    with pytest.raises(ConfigError, match="unknown task 'translation'; choose from feature-ex"):
        read_checkpoint(PARITY / "gelu_features", task="translation")


def test_a_preset_says_that_its_weights_are_random() -> None:
    checkpoint = read_checkpoint("albert-base-v2", task="classification")
    assert checkpoint.source == "albert-base-v2 (random weights)"
    assert (checkpoint.task, checkpoint.sha256) == ("classification", "")
    assert checkpoint.tensors["classifier/kernel"].shape == (768, 2)


def test_a_directory_is_read_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PARITY / "gelu_features", tmp_path / "albert-base-v2")
    monkeypatch.chdir(tmp_path)
    assert read_checkpoint("albert-base-v2").config.hidden_size == 24


def test_initial_weights_are_drawn_as_google_draws_them() -> None:
    config = AlbertConfig(hidden_size=64, num_attention_heads=4, initializer_range=0.1)
    tensors = init_model(config, "classification")
    kernel = tensors["embeddings/word_embeddings"]  # 30,000 × 128 draws
    assert np.abs(kernel).max() <= np.float32(0.2)
    # A standard normal cut at ±2 has the deviation 0.8796; 4 M draws give it to three digits.
    assert kernel.std() == pytest.approx(0.08796, abs=1e-4)
    assert kernel.mean() == pytest.approx(0, abs=1e-4)
    assert np.all(tensors["embeddings/layer_norm/gamma"] == 1)
    assert np.all(tensors["classifier/bias"] == 0)


def test_a_seed_gives_the_same_weights() -> None:
    config = AlbertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)
    once, twice = (init_model(config, "question-answering", seed=3) for _ in range(2))
    other = init_model(config, "question-answering", seed=4)
    assert all(np.array_equal(once[name], twice[name]) for name in once)
    assert not np.array_equal(once["qa_outputs/kernel"], other["qa_outputs/kernel"])


DATA = Path(__file__).parents[1] / "data"
REVISION = "0123456789abcdef0123456789abcdef01234567"
# huggingface_hub reads its environment when it is imported: each test is a process of its own.
READ = """
import sys
from albert_edge.checkpoints import read_checkpoint
from albert_edge.errors import CheckpointError
try:
    checkpoint = read_checkpoint("somebody/my-albert")
    print(checkpoint.source, checkpoint.task, checkpoint.config.hidden_size)
except CheckpointError as error:
    print(error)
"""


def read(home: Path, **environment: str) -> str:
    variables = {**os.environ, "HF_HOME": str(home), **environment}
    command = [sys.executable, "-W", "error", "-c", READ]
    done = subprocess.run(command, env=variables, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cache(home: Path, source: Path) -> Path:
    """Lay a directory out as the Hub's cache does: contents, and links to them by revision."""
    model = home / "hub/models--somebody--my-albert"
    (model / "blobs").mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs/main").write_text(REVISION)
    snapshot = model / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(source.iterdir())):
        shutil.copy(path, model / f"blobs/{number:040}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:040}")
    return snapshot


@pytest.mark.parametrize(
    "source", ["parity/odd_one_type_answers", "foreign/torch", "foreign/sharded"]
)
def test_the_cache_is_enough(tmp_path: Path, source: str) -> None:
    cache(tmp_path, DATA / source)
    expected = f"somebody/my-albert@{REVISION} question-answering 15\n"
    assert read(tmp_path, HF_HUB_OFFLINE="1") == expected


def test_a_link_out_of_the_cache_is_refused(tmp_path: Path) -> None:
    snapshot = cache(tmp_path, DATA / "parity/odd_one_type_answers")
    (tmp_path / "secret").write_text("{}")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(tmp_path / "secret")
    assert "config.json is a link to" in read(tmp_path, HF_HUB_OFFLINE="1")


def test_offline_and_not_in_the_cache(tmp_path: Path) -> None:
    message = read(tmp_path, HF_HUB_OFFLINE="1")
    assert message.startswith("'somebody/my-albert' is not a directory, and a model of this name")
    assert "give its directory" in message
    assert message.count("\n") == 1


def test_no_network(tmp_path: Path) -> None:
    """Nothing listens at this port."""
    message = read(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert message.startswith("'somebody/my-albert' is not a directory, and a model of this name")


def test_what_is_here_wins(tmp_path: Path) -> None:
    shutil.copytree(DATA / "parity/gelu_features", tmp_path / "somebody/my-albert")
    assert read(tmp_path, HF_HUB_OFFLINE="1") == "my-albert feature-extraction 24\n"


@pytest.mark.parametrize(
    "name",
    ["", "/", "a/", "/a", "../a", "./a", "a/b/c", "a b/c", "a/b\n", "a" * 60 + "/" + "b" * 60],
)
def test_what_is_no_name_of_the_hub(name: str) -> None:
    assert not is_hub_id(name)


def test_a_preset_is_random_and_reports_it() -> None:
    found = read_checkpoint("albert-base-v2", task="classification")
    assert set(found.randomly_initialized) == found.tensors.keys()
    assert found.notes == (
        "the trained weights are those of albert/albert-base-v2, on the Hugging Face Hub",
    )
