"""Which head a checkpoint has, and which one is meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from albert_edge.errors import CheckpointError

__all__ = ["ARCHITECTURES", "check_tied", "choose_task", "has_head", "refuse_beam_search"]

# The class of transformers for each task.  It has none for the order alone, and none that scores
# sentences: to it that is the encoder.
ARCHITECTURES = {
    "feature-extraction": "AlbertModel",
    "classification": "AlbertForSequenceClassification",
    "token-classification": "AlbertForTokenClassification",
    "question-answering": "AlbertForQuestionAnswering",
    "summarization": "AlbertModel",
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
    "summarization": ("sentence_scorer/kernel",),
}
# A head that holds another whole.
_LARGER = {"fill-mask": "pretraining", "sentence-order": "pretraining"}
_CLASSIFIERS = ("classification", "token-classification")
# How the head of Google's run_squad_v2 is called in its checkpoints.
_BEAM_SEARCH = ("start_logits/", "end_logits/", "answer_class/")


def choose_task(
    present: Collection[str],
    task: str,
    *,
    spelled: Mapping[str, str],
    architectures: Collection[str] = (),
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
        spelled: What the checkpoint calls every tensor of a head, by canonical name.
        architectures: The classes that `config.json` names.
        where: The checkpoint, for error messages.
        init_head: Whether a head that is not there may be random.

    Raises:
        CheckpointError: The head is not there, or it cannot be told which one is meant.
    """
    found = [name for name in _MARKS if has_head(present, name)]
    if task != "auto":
        if task in _MARKS and task not in found and not init_head:
            missing = [spelled[mark] for mark in _MARKS[task] if mark not in present]
            raise CheckpointError(
                f"{where} has no head for {task} (no tensor {' and no '.join(missing)}), so its "
                "answers would be random; --init-head (init_head=True) makes such a head, to be "
                f"trained. The checkpoint can be read for "
                f"{', '.join(['feature-extraction', *found])}."
            )
        return task
    found = [name for name in found if _LARGER.get(name) not in found]
    if set(_CLASSIFIERS) <= set(found):  # the same tensors
        named = [name for name in _CLASSIFIERS if ARCHITECTURES[name] in architectures]
        if len(named) == 1:
            found = [name for name in found if name not in _CLASSIFIERS or name in named]
    if len(found) > 1:
        raise CheckpointError(f"{where} has heads for {' and '.join(found)}; choose the task.")
    return found[0] if found else "feature-extraction"


def has_head(present: Collection[str], task: str) -> bool:
    """Tell whether tensors of these canonical names hold the head of `task`."""
    return set(_MARKS.get(task, ())) <= set(present)


def refuse_beam_search(stored: Iterable[str], task: str, *, where: str) -> None:
    """Refuse the question-answering head that searches for the end behind each of five starts.

    Args:
        stored: The names in a checkpoint.
        task: One of `config.TASKS`, or "auto".
        where: The checkpoint, for error messages.

    Raises:
        CheckpointError: It has such a head and that head is meant.
    """
    found = sorted(name for name in stored if name.startswith(_BEAM_SEARCH))
    if found and task in ("auto", "question-answering"):
        raise CheckpointError(
            f"{where} has the beam-search head of Google's run_squad_v2 ({', '.join(found)}), "
            "which is not supported: it needs a pass over the text for every candidate start. "
            "The encoder can be read with the task feature-extraction; the head of run_squad_v1 "
            "(cls/squad/output_weights) can be read for question-answering."
        )


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
