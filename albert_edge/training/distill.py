"""Distillation: the probabilities that a classifier predicts as the targets of another."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.examples import Examples
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batching import BUCKETS, encode_pairs
from albert_edge.training.dev_metrics import KerasForward
from albert_edge.training.tasks.classification import ClassificationObjective

__all__ = ["distill", "predict_proba"]


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
