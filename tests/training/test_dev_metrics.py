"""Metrics in training are those of the file: the same outputs, whatever the batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.examples import Examples
from albert_edge.errors import InputError
from albert_edge.modeling.layers import tensors
from albert_edge.training.dev_metrics import DevEvaluator, KerasForward

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a mill storm fell road"
SEQUENCES = [[2, 5, 7, 3], [2, 9, 3], [2, 5, 8, 10, 6, 7, 9, 9, 5, 3], [2, 3]]


def checkpoint(model: Any) -> Checkpoint:
    files = {"vocab.txt": "\n".join(WORDS.split()).encode()}
    return Checkpoint(
        config=model.config, task=model.task, tensors=tensors(model), tokenizer_files=files
    )


@pytest.mark.parametrize("task", ["classification", "question-answering"])
def test_padding_and_batches_change_nothing(tiny_albert: Callable[..., Any], task: str) -> None:
    model = tiny_albert(task)
    types = [[0] * (len(ids) - 1) + [1] for ids in SEQUENCES]
    found = dict(KerasForward(checkpoint(model))(SEQUENCES, types))
    assert sorted(found) == [0, 1, 2, 3]
    for row, outputs in found.items():
        want = model({"input_ids": [SEQUENCES[row]], "token_type_ids": [types[row]]})
        for name, values in outputs.items():
            # Float32 sums in another order, of values around 1.
            np.testing.assert_allclose(values, want[name], atol=2e-5)


def test_metrics_are_of_the_weights_that_are_given(tiny_albert: Callable[..., Any]) -> None:
    start = checkpoint(tiny_albert("classification"))
    texts = ["the mill fell", "a storm", "road", "the the"]
    labels = ["neutral", "positive", "neutral", "negative"]
    examples = Examples(
        kind="classification",
        ids=list("1234"),
        places=[f"line {n}" for n in range(4)],
        inputs=[{"text": text} for text in texts],
        targets=labels,
        labels=start.config.labels,
    )
    evaluator = DevEvaluator(start, examples)
    assert len(evaluator) == 4
    for index, label in enumerate(start.config.labels):  # a bias that decides alone
        bias = 1000 * np.eye(3, dtype=np.float32)[index]
        metrics = evaluator.metrics({**start.tensors, "classifier/bias": bias})
        ones = np.ones(4)
        accuracy = {metric.name: metric.statistic(ones) for metric in metrics}["accuracy"]
        assert accuracy == labels.count(label) / 4
    bad = dataclasses.replace(examples, inputs=[*examples.inputs[:3], {"text": " "}])
    with pytest.raises(InputError, match="line 3: the text is empty"):
        DevEvaluator(start, bad)
