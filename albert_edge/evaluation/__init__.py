"""The official metrics of every task, of the actual `.tflite` file, with their uncertainty."""

from __future__ import annotations

from albert_edge.evaluation.evaluate import evaluate
from albert_edge.evaluation.options import EvaluateOptions

__all__ = ["EvaluateOptions", "evaluate"]
