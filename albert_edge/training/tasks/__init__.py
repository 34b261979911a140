"""Fine-tuning, one module a task: what is learned, and what it costs to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from albert_edge.evaluation import EvaluateOptions
from albert_edge.evaluation.examples import Examples, read_examples
from albert_edge.evaluation.squad import read_squad
from albert_edge.training.lesson import Lesson
from albert_edge.training.tasks.classification import Classification
from albert_edge.training.tasks.question_answering import QuestionAnswering
from albert_edge.training.tasks.summarization import Summarization
from albert_edge.training.tasks.token_classification import TokenClassification

__all__ = ["LESSONS", "read_lesson"]


def _questions(path: Path, examples: Examples) -> Lesson:
    questions, _ = read_squad(path)
    return QuestionAnswering(examples, [question.start for question in questions])


# What makes a lesson of a file and the examples in it, by their kind.
LESSONS: dict[str, Callable[[Path, Examples], Lesson]] = {
    "classification": lambda _, examples: Classification(examples),
    "multi-label": lambda _, examples: Classification(examples),
    "regression": lambda _, examples: Classification(examples),
    "question-answering": _questions,
    "summarization": lambda _, examples: Summarization(examples),
    "token-classification": lambda _, examples: TokenClassification(examples),
}


def read_lesson(path: Path, kind: str, labels: tuple[str, ...], reading: EvaluateOptions) -> Lesson:
    """Read what is to be learned; the same file can be evaluated.

    Args:
        path: The file, in a form that fits the kind.
        kind: One of `LESSONS`.
        labels: The labels, or the names of the numbers, that there are.
        reading: How the columns are called.

    Raises:
        InputError: The file cannot be read or does not fit.
        TrainingError: An answer is not in its context.
    """
    return LESSONS[kind](path, read_examples(path, kind, labels, reading))
