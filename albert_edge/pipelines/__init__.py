"""Text in, answer out: one module a task, on the runtime alone.

>>> pipe = load("model.tflite")        # doctest: +SKIP
>>> pipe("a quiet, moving film")       # doctest: +SKIP
{'label': 'positive', 'score': 0.98, ...}
"""

from __future__ import annotations

import os

from albert_edge.errors import BundleError, InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import Classification
from albert_edge.pipelines.feature_extraction import FeatureExtraction
from albert_edge.pipelines.fill_mask import FillMask, Pretraining
from albert_edge.pipelines.question_answering import QuestionAnswering
from albert_edge.pipelines.sentence_order import SentenceOrder
from albert_edge.pipelines.summarization import Summarization
from albert_edge.pipelines.token_classification import TokenClassification
from albert_edge.runtime import open_model
from albert_edge.tokenizer import tokenizer_from_files

__all__ = [
    "PIPELINES",
    "Classification",
    "FeatureExtraction",
    "FillMask",
    "Pipeline",
    "Pretraining",
    "QuestionAnswering",
    "SentenceOrder",
    "Summarization",
    "TokenClassification",
    "load",
]

PIPELINES: dict[str, type[Pipeline]] = {
    "classification": Classification,
    "feature-extraction": FeatureExtraction,
    "fill-mask": FillMask,
    "pretraining": Pretraining,
    "question-answering": QuestionAnswering,
    "sentence-order": SentenceOrder,
    "summarization": Summarization,
    "token-classification": TokenClassification,
}
# What a file can be asked for that it was not made for, by the name that is asked for.
_OTHER_USES: dict[str, tuple[type[Pipeline], tuple[str, ...]]] = {
    "summarize": (Summarization, ("summarization", "feature-extraction")),
}


def load(
    source: str | os.PathLike[str] | bytes, *, threads: int = 1, task: str | None = None
) -> Pipeline:
    """Open the one file as a function from text to answer.

    Args:
        source: A path, a file's content, or "default" for the embedded sentiment model.
        threads: How many CPU threads to use.
        task: "summarize", to choose sentences by an encoder's embeddings; None for what the file
            was made for.

    Returns:
        The pipeline of the task.

    Raises:
        InputError: There is no such task, or the file cannot be used for it.
        BundleError: The file is missing, damaged, foreign or newer than this version.
        TokenizerError: The tokenizer in it cannot be used.
        DeviceError: No TFLite runtime is installed.
    """
    model = open_model(source, threads=threads)
    tokenizer = None
    if files := model.bundle.tokenizer_files:
        where = "the model" if isinstance(source, bytes) else str(source)
        tokenizer = tokenizer_from_files(files, where=where)
        if tokenizer.vocab_size > model.bundle.config.vocab_size:
            raise BundleError(
                f"{where} contradicts itself: its tokenizer has {tokenizer.vocab_size} tokens, "
                f"its model {model.bundle.config.vocab_size}."
            )
    return _pipeline(model.bundle.task, task)(model, tokenizer)


def _pipeline(made_for: str, task: str | None) -> type[Pipeline]:
    if task is None:
        return PIPELINES[made_for]
    if task not in _OTHER_USES:
        raise InputError(
            f"task is {task!r}; choose from {', '.join(_OTHER_USES)}, or leave it out."
        )
    pipeline, fitting = _OTHER_USES[task]
    if made_for not in fitting:
        raise InputError(f"{task} takes a file for {' or '.join(fitting)}; this is for {made_for}.")
    return pipeline
