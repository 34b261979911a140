"""The official metrics of every task, of the actual `.tflite` file, with their uncertainty."""

from __future__ import annotations

from albert_edge.datasets.options import EvaluateOptions
from albert_edge.evaluation.evaluate import evaluate

__all__ = ["EvaluateOptions", "evaluate"]
