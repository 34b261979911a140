"""The Keras ALBERT says what Hugging Face's torch says.

Tolerance: 1e-5.  Hidden states are normalized, so below 5 in size, where one float32 step is 4e-7;
a dozen products in another order of summation may move a value by a few of those.  Measured: 2.7e-6
at most.  A wrong activation, which is the smallest mistake there is, moves them by more than 1e-5,
as a test below shows.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint
from albert_edge.modeling import from_checkpoint, load_keras

PARITY = Path(__file__).parents[1] / "data" / "parity"
BERT_PARITY = PARITY.parent / "bert_parity"
DIRECTORIES = sorted([*PARITY.iterdir(), *BERT_PARITY.iterdir()])
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
TASKS = {
    "features": "feature-extraction",
    "classification": "classification",
    "tags": "token-classification",
    "answers": "question-answering",
    "masks": "fill-mask",
    "pretraining": "pretraining",
}


def compare(model: Any, golden: Path) -> float:
    """Return the greatest difference in any output, for the padded batch and for the text alone."""
    with np.load(golden) as arrays:
        differences = []
        for case in ("padded", "alone"):
            values = {
                key.split("/")[1]: arrays[key] for key in arrays if key.startswith(f"{case}/")
            }
            expected = {key: value for key, value in values.items() if key not in INPUTS}
            outputs = model({key: value for key, value in values.items() if key in INPUTS})
            assert outputs.keys() == expected.keys()
            for key, value in expected.items():
                assert outputs[key].shape == value.shape
                differences.append(np.abs(outputs[key].numpy() - value).max())
    return float(max(differences))


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_says_what_torch_says(directory: Path) -> None:
    assert (
        compare(
            load_keras(directory, task=TASKS[directory.name.rsplit("_", 1)[-1]]),
            directory / "golden.npz",
        )
        <= 1e-5
    )


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("gelu_features", "gelu_new"),
        ("gelu_pytorch_tanh_answers", "gelu"),
        ("relu_classification", "gelu"),
        ("square_features", "gelu"),
    ],
)
def test_parity_sees_a_wrong_activation(name: str, wrong: str) -> None:
    checkpoint = read_checkpoint(PARITY / name)
    config = dataclasses.replace(checkpoint.config, hidden_act=wrong)
    model = from_checkpoint(dataclasses.replace(checkpoint, config=config))
    assert compare(model, PARITY / name / "golden.npz") > 1e-5


def test_parity_sees_a_wrong_order_of_groups() -> None:
    checkpoint = read_checkpoint(PARITY / "two_groups_answers")
    swapped = {
        name.replace("group_0", "group_x")
        .replace("group_1", "group_0")
        .replace("group_x", "group_1"): v
        for name, v in checkpoint.tensors.items()
    }
    model = from_checkpoint(dataclasses.replace(checkpoint, tensors=swapped))
    assert compare(model, PARITY / "two_groups_answers" / "golden.npz") > 1e-2


def test_a_trained_encoder(data_folder: Path) -> None:
    """PL-BERT: 12 passes, H = 768, values to 12.  Measured: 9.5e-6."""
    model = load_keras(data_folder / "plbert_kokoro")
    golden = np.load(data_folder / "plbert_kokoro" / "golden.npz")
    outputs = model({"input_ids": golden["input_ids"].astype(np.int32)})
    assert outputs.keys() == {"last_hidden_state"}
    expected = golden["torch_fp32_hidden"]
    assert np.abs(outputs["last_hidden_state"].numpy() - expected).max() <= 1e-4
