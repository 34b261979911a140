"""Fine-tuning objectives, one module per task: encoding of the examples, loss and accuracy."""

from __future__ import annotations

from collections.abc import Callable

from albert_edge.datasets.examples import Examples
from albert_edge.training.objective import TaskObjective
from albert_edge.training.tasks.classification import ClassificationObjective
from albert_edge.training.tasks.question_answering import QuestionAnsweringObjective
from albert_edge.training.tasks.summarization import SummarizationObjective
from albert_edge.training.tasks.token_classification import TokenClassificationObjective

__all__ = ["OBJECTIVES"]

# The objective of the examples of a kind.
OBJECTIVES: dict[str, Callable[[Examples], TaskObjective]] = {
    "classification": ClassificationObjective,
    "multi-label": ClassificationObjective,
    "regression": ClassificationObjective,
    "question-answering": QuestionAnsweringObjective,
    "summarization": SummarizationObjective,
    "token-classification": TokenClassificationObjective,
}
