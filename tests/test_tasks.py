"""Every registry covers every task or every kind of examples, and the records are true."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection

import numpy as np
import pytest

from albert_edge.checkpoints import tensor_names
from albert_edge.config import AlbertConfig
from albert_edge.datasets.examples import KINDS
from albert_edge.evaluation import predict, task_metrics
from albert_edge.modeling import heads
from albert_edge.pipelines import PIPELINES
from albert_edge.runtime.model import open_model
from albert_edge.tasks import PROBLEM_TYPES, TASKS
from albert_edge.tflite import export
from albert_edge.training.tasks import OBJECTIVES

# Without fine-tuning: an encoder has no head to train, and pre-training trains these heads.
UNTRAINED = {"feature-extraction", "fill-mask", "sentence-order", "pretraining"}


@pytest.mark.parametrize(
    "registry",
    [tensor_names.HEADS, heads.HEADS, export.HEADS, PIPELINES],
    ids=["tensor_names", "heads", "export", "pipelines"],
)
def test_a_registry_by_task_covers_every_task(registry: Collection[str]) -> None:
    assert set(registry) == set(TASKS)


@pytest.mark.parametrize(
    "registry",
    [KINDS, predict.PREDICTORS, task_metrics.METRICS],
    ids=["examples", "predict", "task_metrics"],
)
def test_a_registry_by_kind_covers_the_examples_of_every_task(registry: Collection[str]) -> None:
    assert set(registry) == {kind for task in TASKS.values() for kind in task.examples}


def test_every_task_that_is_fine_tuned_has_an_objective() -> None:
    trained = {
        kind for name, task in TASKS.items() if name not in UNTRAINED for kind in task.examples
    }
    assert set(OBJECTIVES) == trained


def test_a_record_has_the_name_it_is_found_by() -> None:
    assert [task.name for task in TASKS.values()] == list(TASKS)
    assert {task.part_of for task in TASKS.values()} <= {None, *TASKS}
    assert TASKS["classification"].examples == tuple(PROBLEM_TYPES)


@pytest.mark.parametrize("task", TASKS)
def test_a_head_is_recognized_by_its_own_tensors(task: str) -> None:
    names = {tensor.name for tensor in tensor_names.head_names(AlbertConfig(), task)}
    assert set(TASKS[task].head) <= names
    whole = TASKS[task].part_of
    if whole is not None:
        assert set(TASKS[task].head) <= set(TASKS[whole].head)


@pytest.mark.parametrize("task", TASKS)
def test_options_are_arguments_of_the_pipeline(task: str) -> None:
    assert set(TASKS[task].options) <= set(inspect.signature(PIPELINES[task].__call__).parameters)


@pytest.mark.parametrize("task", TASKS)
def test_outputs_are_those_of_the_file(task: str, tiny_tflite: Callable[..., bytes]) -> None:
    """One text of 7 tokens: no other dimension of the tiny model is 7."""
    input_ids = np.arange(5, 12, dtype=np.int32)
    outputs = open_model(tiny_tflite(task)).run(input_ids)
    assert outputs.keys() == set(TASKS[task].outputs)
    per_token = {name for name, values in outputs.items() if values.shape[1] == input_ids.size}
    assert per_token == set(TASKS[task].per_token)
