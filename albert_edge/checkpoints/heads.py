"""Which head a checkpoint has, and which one is meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from albert_edge.checkpoints.names import TensorName
from albert_edge.errors import CheckpointError

__all__ = ["ARCHITECTURES", "check_tied", "choose_task", "is_head"]

# The class of transformers for each task.  It has none for the order alone.
ARCHITECTURES = {
    "feature-extraction": "AlbertModel",
    "classification": "AlbertForSequenceClassification",
    "token-classification": "AlbertForTokenClassification",
    "question-answering": "AlbertForQuestionAnswering",
    "fill-mask": "AlbertForMaskedLM",
    "sentence-order": "AlbertForPreTraining",
    "pretraining": "AlbertForPreTraining",
}

# The tensors that tell that a checkpoint has a task's head, by canonical name.
_MARKS = {
    "pretraining": ("predictions/dense/kernel", "sop_classifier/kernel"),
    "fill-mask": ("predictions/dense/kernel",),
    "sentence-order": ("sop_classifier/kernel",),
    "classification": ("pooler/kernel", "classifier/kernel"),
    "token-classification": ("classifier/kernel",),
    "question-answering": ("qa_outputs/kernel",),
}
# A head that holds another whole.
_LARGER = {"fill-mask": "pretraining", "sentence-order": "pretraining"}
_ENCODER = ("embeddings/", "encoder/", "pooler/")


def choose_task(
    present: Collection[str],
    task: str,
    *,
    architectures: Iterable[str] = (),
    where: str,
    init_head: bool = False,
) -> str:
    """Find the head that is meant.

    `auto` is the one head that there is: of pre-training, both parts if both are there.  A
    classifier is of tokens if there is no pooler; with one it may be either, and `architectures`
    tells.

    Args:
        present: The canonical names of the tensors in the checkpoint.
        task: One of `config.TASKS`, or "auto".
        architectures: The classes that `config.json` names.
        where: The checkpoint, for error messages.
        init_head: Whether a head that is not there may be random.

    Raises:
        CheckpointError: The head is not there, or it cannot be told which one is meant.
    """
    found = [name for name, marks in _MARKS.items() if set(marks) <= set(present)]
    if task != "auto":
        if task in _MARKS and task not in found and not init_head:
            missing = [mark for mark in _MARKS[task] if mark not in present]
            raise CheckpointError(
                f"{where} has no head for {task} (no tensor {' and no '.join(missing)}), so its "
                "answers would be random; --init-head (init_head=True) makes such a head, to be "
                f"trained. The checkpoint can be read for "
                f"{', '.join(['feature-extraction', *found])}."
            )
        return task
    found = [name for name in found if _LARGER.get(name) not in found]
    named = [name for name in found if ARCHITECTURES[name] in architectures]
    if len(named or found) > 1:
        raise CheckpointError(f"{where} has heads for {' and '.join(found)}; choose the task.")
    return (named or found or ["feature-extraction"])[0]


def is_head(tensor: TensorName) -> bool:
    """Tell whether a tensor is a task's own, not the encoder's or the pooler's."""
    return not tensor.name.startswith(_ENCODER)


def check_tied(table: np.ndarray, decoder: np.ndarray, *, where: str) -> None:
    """Check that a decoder that was stored beside the word embeddings is the same table.

    Args:
        table: The word embeddings, float32 [V, E].
        decoder: What the checkpoint stores for the product with the vocabulary, float32 [V, E].
        where: The decoder's name, for error messages.

    Raises:
        CheckpointError: They differ.
    """
    if table.shape != decoder.shape or not np.array_equal(table, decoder):
        raise CheckpointError(
            f"{where} {list(decoder.shape)} is not the table of word embeddings "
            f"{list(table.shape)}; an ALBERT that predicts words with another table is not "
            "supported. It can be read for feature-extraction."
        )
