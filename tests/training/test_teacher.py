"""The losses of a student: nothing to learn from itself, and padding does not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import tensors
from albert_edge.training.teacher import Teacher

MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], np.int32)
IDS = np.array([[2, 7, 9, 3, 0, 0], [2, 11, 5, 8, 6, 3]], np.int32)
INPUTS = {"input_ids": IDS, "token_type_ids": np.zeros_like(IDS), "attention_mask": MASK}


def teacher_of(model: Any, share: float, weight: float = 0.0) -> Teacher:
    start = Checkpoint(config=model.config, task=model.task, tensors=tensors(model))
    return Teacher(start, share=share, weight=weight)


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("classification", {}),
        ("classification", {"early_exit": True}),
        ("classification", {"problem_type": "multi_label_classification"}),
        ("classification", {"labels": ("stars",)}),
        ("token-classification", {}),
        ("question-answering", {}),
        ("question-answering", {"early_exit": True}),
        ("summarization", {}),
    ],
)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(
    tiny_albert: Callable[..., Any], task: str, config: dict[str, Any]
) -> None:
    model = tiny_albert(task, **{"classifier_dropout_prob": 0.0, **config})
    teacher = teacher_of(model, 1.0)
    with tf.GradientTape() as tape:
        passes = model.passes(INPUTS, training=True)
        outputs = model.outputs_of(passes, training=True)
        of_outputs, whole = teacher.losses(tf.constant(9.0), INPUTS, passes, outputs)
    # A cross entropy is least, and flat, where the student predicts what the teacher does.
    gradients = tape.gradient(of_outputs, list(outputs.values()))
    assert all(np.abs(one).max() < 1e-6 for one in gradients if one is not None)
    assert any(one is not None for one in gradients)
    assert float(whole) == pytest.approx(0.0, abs=1e-10)
    assert float(of_outputs) < 9.0


def test_padding_does_not_count_and_labels_do(tiny_albert: Callable[..., Any]) -> None:
    model = tiny_albert("question-answering")
    passes = [states + 0.1 for states in model.passes(INPUTS)]
    outputs = {name: values + 0.1 for name, values in model.outputs_of(passes).items()}
    padding = tf.cast(1 - MASK, tf.float32)
    wrong = [states + 50.0 * padding[:, :, None] for states in passes]
    wild = {name: values + 50.0 * padding for name, values in outputs.items()}
    found = [
        [float(loss) for loss in teacher_of(model, share).losses(9.0, INPUTS, *student)]
        for share, student in (
            (0.0, (passes, outputs)),
            (1.0, (passes, outputs)),
            (1.0, (wrong, wild)),
        )
    ]
    assert found[0][0] == 9.0
    assert found[1] == pytest.approx(found[2])
    assert found[1][1] > 0


def test_the_outputs_count_as_much_as_they_are_weighted(tiny_albert: Callable[..., Any]) -> None:
    model = tiny_albert("question-answering")
    passes = [states + 0.1 for states in model.passes(INPUTS)]
    outputs = model.outputs_of(passes)
    found = [
        teacher_of(model, 0.5, weight).losses(9.0, INPUTS, passes, outputs)
        for weight in (0.0, 0.25)
    ]
    (of_outputs, of_passes), (same, whole) = found
    assert float(of_outputs) == pytest.approx(float(same))
    assert float(whole) == pytest.approx(float(of_passes) + 0.25 * float(of_outputs))
