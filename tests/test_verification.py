"""Linked float32 models have the outputs of Hugging Face's torch models, for every head.

Tolerance: 1e-4.  Outputs are up to 3.4 here, where float32 is exact to 2e-7, and the kernels add
in another order over up to 10 layers.  Measured: 3.8e-6 at most.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albert_edge import convert, load_keras
from albert_edge.runtime import open_model

PARITY = Path(__file__).parent / "data" / "parity"
# Every head, with one group and more, one inner group and more, every activation.
CASES = {
    "three_groups_of_five_features": "feature-extraction",
    "inner_two_classification": "classification",
    "regression_classification": "classification",
    "groups_of_two_tags": "token-classification",
    "two_groups_answers": "question-answering",
    "gelu_masks": "fill-mask",
    "groups_of_two_masks": "fill-mask",
    "three_groups_pretraining": "pretraining",
}


@pytest.mark.parametrize("name", CASES)
def test_says_what_torch_says(name: str) -> None:
    made = convert(load_keras(PARITY / name), quantize="float32", layout="loop", verified=False)
    assert made.report["task"] == CASES[name]
    model = open_model(made.blob)
    with np.load(PARITY / name / "golden.npz") as golden:
        given = {key: golden[key] for key in golden}
    for row, mask in enumerate(given["padded/attention_mask"]):
        count = int(mask.sum())
        got = model.run(
            given["padded/input_ids"][row, :count], given["padded/token_type_ids"][row, :count]
        )
        for key, values in got.items():
            want = given[f"padded/{key}"][row]
            per_token = want.shape[:1] == mask.shape
            np.testing.assert_allclose(values[0], want[:count] if per_token else want, atol=1e-4)
    for key, values in model.run(given["alone/input_ids"]).items():
        np.testing.assert_allclose(values, given[f"alone/{key}"], atol=1e-4)


def test_order_alone_says_the_same(tiny_albert, tiny_tflite) -> None:
    ids = [2, 17, 33, 5, 59, 8, 3]
    want = tiny_albert("sentence-order")({"input_ids": np.array([ids])})["sop_logits"]
    got = open_model(tiny_tflite("sentence-order")).run(ids)
    assert got.keys() == {"sop_logits"}
    np.testing.assert_allclose(got["sop_logits"], want, atol=2e-5)
