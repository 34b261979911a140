"""Fine-tuning, one module a task: what is learned, and what it costs to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.squad import read_squad
from albert_edge.evaluation import EvaluateOptions
from albert_edge.training.objective import TaskObjective
from albert_edge.training.tasks.classification import ClassificationObjective
from albert_edge.training.tasks.question_answering import QuestionAnsweringObjective
from albert_edge.training.tasks.summarization import SummarizationObjective
from albert_edge.training.tasks.token_classification import TokenClassificationObjective

__all__ = ["OBJECTIVES", "read_objective"]


def _questions(path: Path, examples: Examples) -> TaskObjective:
    questions, _ = read_squad(path)
    return QuestionAnsweringObjective(examples, [question.start for question in questions])


# What makes a lesson of a file and the examples in it, by their kind.
OBJECTIVES: dict[str, Callable[[Path, Examples], TaskObjective]] = {
    "classification": lambda _, examples: ClassificationObjective(examples),
    "multi-label": lambda _, examples: ClassificationObjective(examples),
    "regression": lambda _, examples: ClassificationObjective(examples),
    "question-answering": _questions,
    "summarization": lambda _, examples: SummarizationObjective(examples),
    "token-classification": lambda _, examples: TokenClassificationObjective(examples),
}


def read_objective(
    path: Path, kind: str, labels: tuple[str, ...], reading: EvaluateOptions
) -> TaskObjective:
    """Read what is to be learned; the same file can be evaluated.

    Args:
        path: The file, in a form that fits the kind.
        kind: One of `OBJECTIVES`.
        labels: The labels, or the names of the numbers, that there are.
        reading: How the columns are called.

    Raises:
        InputError: The file cannot be read or does not fit.
        TrainingError: An answer is not in its context.
    """
    return OBJECTIVES[kind](path, read_examples(path, kind, labels, reading))
