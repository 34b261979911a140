"""Teach an ALBERT: tables of labelled text in, checkpoints out."""

from __future__ import annotations

from albert_edge.training.data import LabelledTexts, read_labelled
from albert_edge.training.finetune import EpochResult, finetune
from albert_edge.training.job import finetune_files
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.selection import Selection
from albert_edge.training.vocabulary import train_vocabulary

__all__ = [
    "EpochResult",
    "FinetuneOptions",
    "LabelledTexts",
    "Selection",
    "finetune",
    "finetune_files",
    "read_labelled",
    "train_vocabulary",
]
