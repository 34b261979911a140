from __future__ import annotations

from pathlib import Path

import numpy as np

from albert_edge.checkpoints import read_checkpoint
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.modeling import load_keras
from albert_edge.tokenizer import load_tokenizer
from albert_edge.training.distill import distill


def test_targets_are_answers_and_classes(toy_model: Path, toy_table: Path) -> None:
    start = read_checkpoint(toy_model)
    data = read_examples(toy_table, "classification", start.config.labels, EvaluateOptions())
    classes = np.eye(2)[data.class_indices()]
    assert np.array_equal(distill(start, data, share=0.0).targets, classes)
    objective = distill(start, data, share=0.25)
    answers = (objective.targets - 0.75 * classes) / 0.25
    model, tokenizer = load_keras(toy_model), load_tokenizer(toy_model)
    for inputs, answer in zip(data.inputs[:8], answers, strict=False):
        logits = model({"input_ids": [tokenizer.encode(inputs["text"]).input_ids]})[
            "logits"
        ].numpy()[0]
        powers = np.exp(logits - logits.max())
        # 0.25 of a share in float32 is off by 2^-25 at most; padding changes the order of sums.
        assert np.allclose(answer, powers / powers.sum(), atol=1e-4)
    assert objective.examples.inputs is data.inputs
