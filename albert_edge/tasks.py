"""The tasks that a model can perform: one `Task` record for each kind of head.

This module holds data only.  The code for each task is in one registry per folder:
`checkpoints.tensor_names`, `modeling.heads`, `tflite.export`, `pipelines`, `evaluation.predict`,
`evaluation.task_metrics` and `training.tasks`.  tests/test_tasks.py checks that they are complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["PROBLEM_TYPES", "TASKS"]

# The kinds of examples that a classifier can have → transformers' `problem_type`.
PROBLEM_TYPES = {
    "classification": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The properties of one task.

    Attributes:
        name: The name in files and on the command line.
        outputs: The outputs of the signature; `pooler_output` only if the encoder has a pooler.
        per_token: The outputs with one entry per token on axis 1, from which padding is cut off.
        architecture: The transformers class with this head; the encoder's class if there is none.
        head: The canonical names of the tensors by which a checkpoint's head is recognized.
        part_of: The task whose head contains this head, if any.
        examples: The kinds of examples for evaluation; see `datasets.examples.KINDS`.
        library_outputs: The outputs of a file of the target `mediapipe`; empty for a task that
            neither MediaPipe Tasks nor Task Library performs.
        has_labels: Whether there is one logit per label.
        options: The optional arguments of the pipeline.
    """

    name: str
    outputs: tuple[str, ...]
    per_token: tuple[str, ...] = ()
    library_outputs: tuple[str, ...] = ()
    architecture: str
    head: tuple[str, ...] = ()
    part_of: str | None = None
    examples: tuple[str, ...]
    has_labels: bool = False
    options: tuple[str, ...] = ()

    @property
    def can_exit_early(self) -> bool:
        """Whether each pass can have a head of its own, so that inference can stop early."""
        return set(_EARLY_EXIT) <= set(self.options)

    @property
    def output_layer(self) -> str:
        """The path of the head's last layer, such as `classifier`."""
        return self.head[-1].removesuffix("/kernel")

    def head_width(self, num_labels: int) -> int:
        """Return the number of logits of a text, or of a token where they are `per_token`."""
        return num_labels if self.has_labels else len(self.outputs)

    def name_logits(self, logits: Any) -> dict[str, Any]:
        """Return the outputs by name, of the logits [..., K] of one head."""
        if len(self.outputs) == 1:
            return {self.outputs[0]: logits}
        return {name: logits[..., index] for index, name in enumerate(self.outputs)}


_EARLY_EXIT = ("patience", "threshold", "max_layers")
_TASKS = (
    Task(
        name="feature-extraction",
        outputs=("last_hidden_state", "pooler_output"),
        per_token=("last_hidden_state",),
        library_outputs=("sentence_embedding",),
        architecture="AlbertModel",
        examples=("similarity",),
        options=("pair", "pooling", "normalize"),
    ),
    Task(
        name="classification",
        outputs=("logits",),
        library_outputs=("probabilities",),
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
        options=("entities", *_EARLY_EXIT),
    ),
    Task(
        name="question-answering",
        outputs=("start_logits", "end_logits"),
        per_token=("start_logits", "end_logits"),
        library_outputs=("start_logits", "end_logits"),
        architecture="AlbertForQuestionAnswering",
        head=("qa_outputs/kernel",),
        examples=("question-answering",),
        options=("question", "allow_null", "top_k", *_EARLY_EXIT),
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
