from __future__ import annotations

from pathlib import Path

import numpy as np

from albert_edge.checkpoints import read_checkpoint
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.modeling import load_keras
from albert_edge.tokenizer import load_tokenizer
from albert_edge.training.distill import Teacher, distill
from albert_edge.training.distillation.options import ON_TASK, Teaching
from albert_edge.training.objective import TAUGHT
from albert_edge.training.tasks.classification import ClassificationObjective


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


def test_the_loss_is_the_weighted_sum_of_the_teachers_and_the_labels(
    toy_model: Path, toy_table: Path
) -> None:
    start = read_checkpoint(toy_model)
    data = read_examples(toy_table, "classification", start.config.labels, EvaluateOptions())
    plain = ClassificationObjective(data)
    objective = Teacher(start, Teaching(teacher_weight=0.25, temperature=2.0)).teach(plain, ON_TASK)
    ids = np.array([[2, 5, 6, 3], [2, 9, 3, 0]], np.int32)
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int32)}
    taught = objective.taught(inputs)
    expected = load_keras(toy_model)(inputs)["logits"]
    # bfloat16 products, where the hardware has them.
    assert np.allclose(taught[f"{TAUGHT}logits"], expected, atol=0.1)
    assert plain.taught(inputs) == {}
    logits = np.array([[1.0, 0.0], [0.5, 2.0]], np.float32)
    targets = np.eye(2, dtype=np.float32)
    wanted = np.array([[3.0, -1.0], [0.0, 1.0]], np.float32)
    outputs = {"logits": logits, f"{TAUGHT}logits": wanted}
    found = objective.loss(outputs, targets, None, ON_TASK)

    def log_softmax(values: np.ndarray) -> np.ndarray:
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True))

    soft, softer = log_softmax(logits / 2), log_softmax(wanted / 2)
    distance = 4 * (np.exp(softer) * (softer - soft)).sum(axis=1).mean()
    labels = plain.loss({"logits": logits}, targets, None, ON_TASK)
    assert np.allclose(found, 0.25 * distance + 0.75 * labels, rtol=1e-5)
    same = {"logits": wanted, f"{TAUGHT}logits": wanted}
    alone = Teacher(start, Teaching(teacher_weight=1.0)).teach(plain, ON_TASK)
    assert abs(alone.loss(same, targets, None, ON_TASK)) < 1e-6
