"""The tasks: one record for each head that a model can have.

Data only.  What a task computes stands in one registry in each folder that computes something:
`modeling.heads`, `tflite.export`, `pipelines`, `evaluation.predict`, `evaluation.task_metrics` and
`training.tasks`; a test checks that each of them covers every task.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROBLEM_TYPES", "TASKS", "Task"]

# The `problem_type` of a classification, as transformers names it, by the kind of its examples.
PROBLEM_TYPES = {
    "classification": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task of a model.

    Attributes:
        name: Its name, in files and on the command line.
        outputs: The outputs of its signature; `pooler_output` only if the encoder has a pooler.
        per_token: Those with one entry a token, on axis 1, which end where padding begins.
        architecture: The class of transformers with this head; the encoder's where it has none.
        head: The tensors that show that a checkpoint has this head, by canonical name.
        part_of: The task whose head contains this one.
        examples: The kinds of examples that it can be scored on (`datasets.examples.KINDS`).
        has_labels: Whether its logits are one for each label.
        options: The optional arguments of its pipeline.
    """

    name: str
    outputs: tuple[str, ...]
    per_token: tuple[str, ...] = ()
    architecture: str
    head: tuple[str, ...] = ()
    part_of: str | None = None
    examples: tuple[str, ...]
    has_labels: bool = False
    options: tuple[str, ...] = ()


_EARLY_EXIT = ("patience", "threshold", "max_layers")
_TASKS = (
    Task(
        name="feature-extraction",
        outputs=("last_hidden_state", "pooler_output"),
        per_token=("last_hidden_state",),
        architecture="AlbertModel",
        examples=("similarity",),
        options=("pair", "pooling", "normalize"),
    ),
    Task(
        name="classification",
        outputs=("logits",),
        architecture="AlbertForSequenceClassification",
        head=("pooler/kernel", "classifier/kernel"),
        examples=tuple(PROBLEM_TYPES),
        has_labels=True,
        options=("pair", *_EARLY_EXIT),
    ),
    Task(
        name="token-classification",
        outputs=("logits",),
        per_token=("logits",),
        architecture="AlbertForTokenClassification",
        head=("classifier/kernel",),
        examples=("token-classification",),
        has_labels=True,
        options=("entities",),
    ),
    Task(
        name="question-answering",
        outputs=("start_logits", "end_logits"),
        per_token=("start_logits", "end_logits"),
        architecture="AlbertForQuestionAnswering",
        head=("qa_outputs/kernel",),
        examples=("question-answering",),
        options=("question", "allow_null", "top_k"),
    ),
    Task(
        name="summarization",
        outputs=("sentence_logits",),
        per_token=("sentence_logits",),
        architecture="AlbertModel",
        head=("sentence_scorer/kernel",),
        examples=("summarization",),
        options=("bullets", "redundancy"),
    ),
    Task(
        name="fill-mask",
        outputs=("logits",),
        per_token=("logits",),
        architecture="AlbertForMaskedLM",
        head=("predictions/dense/kernel",),
        part_of="pretraining",
        examples=("fill-mask",),
        options=("pair", "top_k"),
    ),
    Task(
        name="sentence-order",
        outputs=("sop_logits",),
        architecture="AlbertForPreTraining",
        head=("sop_classifier/kernel",),
        part_of="pretraining",
        examples=("sentence-order",),
        options=("pair",),
    ),
    Task(
        name="pretraining",
        outputs=("prediction_logits", "sop_logits"),
        per_token=("prediction_logits",),
        architecture="AlbertForPreTraining",
        head=("predictions/dense/kernel", "sop_classifier/kernel"),
        examples=("fill-mask", "sentence-order"),
        options=("pair", "top_k"),
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _TASKS}
