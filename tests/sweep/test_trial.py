"""`albert_edge.sweep.trial`: what the knobs do to a model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.errors import ConfigError
from albert_edge.modeling import from_checkpoint
from albert_edge.sweep.trial import describe_error, keep_passes

INPUTS = {
    "input_ids": np.array([[2, 31, 45, 17, 3]]),
    "attention_mask": np.ones((1, 5), np.int32),
    "token_type_ids": np.zeros((1, 5), np.int32),
}


@pytest.fixture(scope="module")
def whole() -> Checkpoint:
    return read_checkpoint("default")  # which has an exit after every pass


@pytest.mark.parametrize("count", [1, 2])
def test_the_exit_after_the_last_pass_becomes_the_classifier(whole: Checkpoint, count: int) -> None:
    logits = from_checkpoint(whole).exits(INPUTS).numpy()[:, count - 1]
    fewer = from_checkpoint(keep_passes(whole, count))
    # Additions in another order.
    np.testing.assert_allclose(fewer(INPUTS)["logits"].numpy(), logits, atol=1e-5)
    assert fewer.config.early_exit == (count > 1)


def test_without_exits_only_the_depth_changes(whole: Checkpoint) -> None:
    tensors = {name: one for name, one in whole.tensors.items() if not name.startswith("exits/")}
    config = dataclasses.replace(whole.config, early_exit=False)
    plain = dataclasses.replace(whole, config=config, tensors=tensors)
    fewer = keep_passes(plain, 2)
    assert fewer.config.num_hidden_layers == 2
    assert fewer.tensors.keys() == tensors.keys()
    assert fewer.changes["passes"] == {"before": 4, "after": 2}


def test_there_are_no_more_passes_than_the_model_has(whole: Checkpoint) -> None:
    assert keep_passes(whole, 4) is whole
    with pytest.raises(ConfigError, match="passes must be at most 4"):
        keep_passes(whole, 5)


def test_an_error_names_no_temporary_folder() -> None:
    error = describe_error(ValueError("/tmp/x1/start is odd"), folder="/tmp/x1")  # noqa: S108
    assert error == {"type": "ValueError", "message": "start is odd"}
    assert describe_error(KeyError()) == {"type": "KeyError", "message": "KeyError"}
