"""A model's own answers as the targets of its training."""

from __future__ import annotations

import dataclasses

import numpy as np

from albert_edge.checkpoints import Checkpoint
from albert_edge.training.answers import Answering
from albert_edge.training.data import LabelledTexts

__all__ = ["distill"]


def distill(teacher: Checkpoint, data: LabelledTexts, *, share: float) -> LabelledTexts:
    """Let what `teacher` says of each text be a share of its target, and its class the rest.

    Hinton et al. 2015, arXiv:1503.02531, at temperature 1.

    Args:
        teacher: A classification checkpoint with the labels of `data`.
        data: Texts and their classes.
        share: In [0, 1].
    """
    classes = np.eye(len(data.labels), dtype=np.float32)[data.classes]
    if share == 0:
        return dataclasses.replace(data, targets=classes)
    answers = Answering(teacher).shares(data)
    return dataclasses.replace(data, targets=share * answers + (1 - share) * classes)
