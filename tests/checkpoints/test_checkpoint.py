"""`Checkpoint`: weights in memory, whatever format they were read from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from albert_edge.checkpoints import Checkpoint
from albert_edge.config import preset
from albert_edge.errors import ConfigError
from albert_edge.tasks import TASKS


def test_the_task_is_one_that_there_is() -> None:
    config = preset("albert-base-v2")
    for task in TASKS:
        assert Checkpoint(config=config, task=task, tensors={}).task == task
    with pytest.raises(ConfigError, match=r"unknown task 'singing'; choose from feature-"):
        Checkpoint(config=config, task="singing", tensors={})


def test_a_checkpoint_is_not_changed_and_has_no_parts_unless_they_are_given() -> None:
    one = Checkpoint(config=preset("albert-base-v2"), task="fill-mask", tensors={})
    assert (one.tokenizer_files, one.changes, one.ranges) == ({}, {}, {})
    assert (one.source, one.sha256, one.unused, one.randomly_initialized) == ("", "", (), ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.task = "classification"  # type: ignore[misc]
    weights = {"a": np.zeros(2, np.float32)}
    other = dataclasses.replace(one, tensors=weights)
    assert other.tensors is weights
    assert one.tensors == {}
