"""Distillation into a task: a teacher's outputs beside the labels, or as the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.examples import Examples
from albert_edge.modeling import from_checkpoint
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.training.batching import BUCKETS, encode_pairs
from albert_edge.training.dev_metrics import KerasForward
from albert_edge.training.distillation.options import Teaching
from albert_edge.training.objective import TAUGHT, EncodedEpoch, TaskObjective
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.state import fingerprint
from albert_edge.training.tasks.classification import ClassificationObjective
from albert_edge.training.trainer import mixed_precision

__all__ = ["Teacher", "distill", "predict_proba"]


def distill(teacher: Checkpoint, examples: Examples, *, share: float) -> ClassificationObjective:
    """Mix the probabilities that `teacher` predicts into the targets.

    Hinton et al. 2015, arXiv:1503.02531, at temperature 1.

    Args:
        teacher: A classification checkpoint with the labels of `examples`.
        examples: Of the kind `classification`.
        share: The teacher's share of the targets, in [0, 1]; the labels have the rest.
    """
    objective = ClassificationObjective(examples)
    if share == 0:
        return objective
    targets = share * predict_proba(teacher, examples) + (1 - share) * objective.targets
    return ClassificationObjective(examples, targets)


def predict_proba(checkpoint: Checkpoint, examples: Examples) -> np.ndarray:
    """Return the probabilities that a classifier predicts, in float32: float32 [n, num_labels].

    Texts are cut as on a device, at the model's number of positions.
    """
    tokenizer = tokenizer_from_files(checkpoint.tokenizer_files)
    texts = [inputs["text"] for inputs in examples.inputs]
    pairs = [i["pair"] for i in examples.inputs] if "pair" in examples.inputs[0] else None
    most = min(checkpoint.config.max_position_embeddings, BUCKETS[-1])
    ids, types, _ = encode_pairs(texts, pairs, tokenizer, max_length=most)
    logits = np.zeros((len(examples), checkpoint.config.num_labels), np.float32)
    for row, outputs in KerasForward(checkpoint)(ids, types):
        logits[row] = outputs["logits"][0]
    probabilities: np.ndarray = tf.nn.softmax(logits).numpy()
    return probabilities


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A trained model of a task, and how it counts.

    Attributes:
        checkpoint: The model, with the head and the labels of the task, of the student's
            vocabulary.
        teaching: How it counts beside the labels.
    """

    checkpoint: Checkpoint
    teaching: Teaching

    def fingerprint(self) -> str:
        """Return a digest of the model and of how it counts."""
        return fingerprint(self.checkpoint, self.teaching)

    def teach(self, objective: TaskObjective, options: FinetuneOptions) -> TaskObjective:
        """Return an objective with this teacher's outputs beside its labels."""
        return TaughtObjective(objective, self, options)


@final
class TaughtObjective(TaskObjective):
    """Train on labels and on what a teacher predicts for the same tokens.

    Hinton et al. 2015, arXiv:1503.02531.  The loss is `teacher_weight` times the objective's
    `imitation`, and the rest times its loss.

    Args:
        objective: The examples, and the loss by their labels.
        teacher: The teacher.
        options: The options of the training.
    """

    def __init__(
        self, objective: TaskObjective, teacher: Teacher, options: FinetuneOptions
    ) -> None:
        self.task, self.kind = objective.task, objective.kind
        self.examples = objective.examples
        self._objective, self._teaching = objective, teacher.teaching
        with mixed_precision(options.mixed_precision):
            self.teacher = from_checkpoint(teacher.checkpoint)

    def check(self, options: FinetuneOptions) -> None:
        self._objective.check(options)

    def encode_epoch(
        self, tokenizer: Tokenizer, options: FinetuneOptions, random: np.random.Generator
    ) -> EncodedEpoch:
        return self._objective.encode_epoch(tokenizer, options, random)

    def pass_loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        own = {name: values for name, values in outputs.items() if not name.startswith(TAUGHT)}
        taught = {
            name.removeprefix(TAUGHT): values
            for name, values in outputs.items()
            if name.startswith(TAUGHT)
        }
        weight = self._teaching.teacher_weight
        loss = weight * self.imitation(own, taught, targets, mask, self._teaching.temperature)
        if weight == 1:
            return loss
        return loss + (1 - weight) * self._objective.pass_loss(own, targets, mask, options)

    def imitation(
        self,
        outputs: Mapping[str, Any],
        taught: Mapping[str, Any],
        targets: Any,
        mask: Any,
        temperature: float,
    ) -> Any:
        return self._objective.imitation(outputs, taught, targets, mask, temperature)

    def accuracy(self, outputs: Mapping[str, Any], targets: Any, mask: Any) -> Any:
        return self._objective.accuracy(outputs, targets, mask)
