"""Run a file on text: one pipeline for each task, without TensorFlow.

>>> pipe = load("model.tflite")        # doctest: +SKIP
>>> pipe("a quiet, moving film")       # doctest: +SKIP
{'label': 'positive', 'score': 0.98, ...}
"""

from __future__ import annotations

import os
from typing import Literal

from albert_edge.errors import BundleError, InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import Classification, SentenceOrder
from albert_edge.pipelines.feature_extraction import FeatureExtraction
from albert_edge.pipelines.fill_mask import FillMask, Pretraining
from albert_edge.pipelines.question_answering import QuestionAnswering
from albert_edge.pipelines.summarization import Summarization
from albert_edge.pipelines.token_classification import TokenClassification
from albert_edge.runtime import open_model
from albert_edge.tokenizer import tokenizer_from_files

__all__ = ["PIPELINES", "Pipeline", "load"]

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
# Tasks that a file of another task can serve: the pipeline, and the tasks of the files that fit.
_DERIVED_TASKS: dict[str, tuple[type[Pipeline], tuple[str, ...]]] = {
    "summarize": (Summarization, ("summarization", "feature-extraction")),
}


def load(
    source: str | os.PathLike[str] | bytes,
    *,
    threads: int | Literal["auto"] = 1,
    accelerator: str = "cpu",
    task: str | None = None,
    check: bool = True,
    isolated: bool = False,
    time_limit_s: float | None = None,
) -> Pipeline:
    """Open a file as a function from text to the task's result.

    Args:
        source: A path, a file's content, or the name of an embedded model: `default` (sentiment),
            `questions` or `embeddings`.
        threads: The number of CPU threads; "auto" for the one that is measured to be fastest.
        accelerator: What runs the model: `cpu`; `gpu` or `gpu:float32`, a GPU in float32
            arithmetic; or `gpu:default`, in the precision that its driver prefers.
        task: "summarize", to select sentences by an encoder's embeddings; None for the file's own
            task.
        check: Whether to check first that the file is as it was written and that its graph is one
            that this project writes, and that a GPU computes what the CPU does.  Without the check
            a damaged file can end the process.
        isolated: Whether to run the model in a child process, which may crash or hang.
        time_limit_s: How long a call may take in a child process, in seconds; None for 10, or on a
            GPU, which must compile the model first, 600.

    Returns:
        The pipeline of the task.

    Raises:
        InputError: There is no such task, or the file does not support it.
        ConfigError: There is no such accelerator, or `threads` is "auto" for something else than a
            file on the CPU.
        BundleError: The file is missing, damaged, foreign or newer than this version.
        TokenizerError: The file's tokenizer is damaged or not supported.
        DeviceError: No TFLite runtime is installed; or there is no GPU, or it does not run all of
            the file but the lookups of tables.
        FidelityError: The GPU's outputs are not the CPU's.
    """
    model = open_model(
        source,
        threads=threads,
        accelerator=accelerator,
        check=check,
        isolated=isolated,
        time_limit_s=time_limit_s,
    )
    tokenizer = None
    if files := model.bundle.tokenizer_files:
        where = "the model" if isinstance(source, bytes) else str(source)
        tokenizer = tokenizer_from_files(files, where=where)
        if tokenizer.vocab_size > model.bundle.config.vocab_size:
            raise BundleError(
                f"{where} contradicts itself: its tokenizer has {tokenizer.vocab_size} tokens, "
                f"its model {model.bundle.config.vocab_size}."
            )
    pipeline = _pipeline_class(model.bundle.task, task)
    if pipeline is Summarization and model.bundle.for_libraries:
        raise InputError(
            "this file was made with --target mediapipe and has no vector for each token, of which "
            "sentences are selected. Convert the checkpoint with another target."
        )
    return pipeline(model, tokenizer)


def _pipeline_class(file_task: str, task: str | None) -> type[Pipeline]:
    if task is None:
        return PIPELINES[file_task]
    if task not in _DERIVED_TASKS:
        raise InputError(
            f"task is {task!r}; choose from {', '.join(_DERIVED_TASKS)}, or leave it out."
        )
    pipeline, file_tasks = _DERIVED_TASKS[task]
    if file_task not in file_tasks:
        raise InputError(
            f"{task} takes a file for {' or '.join(file_tasks)}; this file is for {file_task}."
        )
    return pipeline
