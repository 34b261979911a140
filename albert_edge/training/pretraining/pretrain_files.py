"""Pre-train from text files to a checkpoint on disk."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from albert_edge.checkpoints import (
    Checkpoint,
    count_parameters,
    init_model,
    read_checkpoint,
)
from albert_edge.config import AlbertConfig
from albert_edge.errors import TrainingError, requires_extra
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.train import train_vocabulary
from albert_edge.training.init import DEFAULT_CONFIG, with_cooccurrence_embeddings
from albert_edge.training.pretraining.corpus import Document, encode_documents, read_documents
from albert_edge.training.pretraining.options import PretrainOptions

__all__ = ["check_length", "encode", "pretrain_files"]

with requires_extra("train"):
    from albert_edge.training.pretraining.loop import join_workers, pretrain
    from albert_edge.training.progress import progress_bars

_TASK = "pretraining"


def pretrain_files(
    texts: Sequence[Path],
    output: Path,
    *,
    source: str | None = None,
    config: Path | None = None,
    tokenizer: Path | None = None,
    cooccurrence: bool = False,
    dev: Sequence[Path] = (),
    options: PretrainOptions | None = None,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Pre-train an ALBERT on text files.

    Args:
        texts: UTF-8 files; a blank line parts documents.
        output: The directory to write, which `read_checkpoint` reads.  Its parent must exist.
        source: The checkpoint to start from; None for a new model.
        config: The `config.json` of a new model; None for `init.DEFAULT_CONFIG`.
        tokenizer: The tokenizer of a new model; None to train a vocabulary on `texts`.
        cooccurrence: Whether a new model's word embeddings start from co-occurrence counts.
        dev: Text files to evaluate the model on.
        options: The options of the training.
        resume: Whether to resume an interrupted training, with the same arguments.
        force: Whether to replace a checkpoint or an interrupted training in `output`.
        console: The console for progress bars, if it is a terminal.

    Returns:
        A report ready for JSON: `output`, `parameters`, `drawn` (the tensors of the head that
        `source` lacks, which were initialized randomly), `documents`, `tokens`, `steps`, `epochs`
        (about how many), `curve` (the metrics of every evaluation), `warnings` (that the training
        diverged, and what to do), `options`, `workers`, `resumed`, `duration_s` (of this run).

    Raises:
        TrainingError: A text or an option is invalid, or the training cannot be resumed.
        CheckpointError: `source` cannot be read.
        ConfigError: `config` cannot be read.
        TokenizerError: `tokenizer` cannot be read.
        OutputError: `output` holds a checkpoint or an interrupted training and `force` is false,
            or it cannot be written.
    """
    options = options or PretrainOptions()
    began = time.monotonic()
    if source is not None and (config or tokenizer or cooccurrence):
        raise TrainingError(
            "--from sets the configuration, tokenizer and word embeddings; leave out --config, "
            "--tokenizer and --cooccurrence."
        )
    with progress_bars(console) as bars:
        bar = bars.add_task("waiting for the other workers", total=options.steps)
        workers = join_workers(options, output, resume=resume, force=force)
        bars.update(bar, description="reading the texts")
        documents, held_out = read_documents(texts), read_documents(dev)
        start = _start(documents, source, config, tokenizer, options)
        loaded = tokenizer_from_files(start.tokenizer_files)
        encoded = encode(documents, loaded)
        if cooccurrence:
            sequences = [np.concatenate(document).tolist() for document in encoded]
            start = with_cooccurrence_embeddings(start, sequences, seed=options.seed)

        def show_step(step: int, metrics: Mapping[str, float]) -> None:
            words, order = metrics["mlm_accuracy"], metrics["sop_accuracy"]
            text = f"loss {metrics['loss']:.3f}  words {words:.3f}  order {order:.3f}"
            bars.update(bar, completed=step, description=f"step {step}/{options.steps}  {text}")

        log = pretrain(
            start,
            encoded,
            output=output,
            held_out=encode(held_out, loaded),
            options=options,
            resume=resume,
            workers=workers,
            progress=show_step,
        )
    tokens = sum(len(sentence) for sentence in chain(*encoded))
    return {
        "output": str(output),
        "parameters": count_parameters(start.config, _TASK),
        "drawn": list(start.randomly_initialized),
        "documents": len(encoded),
        "tokens": tokens,
        "steps": options.steps,
        "epochs": round(options.steps * options.batch_size * options.max_length / tokens, 2),
        "curve": log.points,
        "warnings": _warnings(log.points[-1]["train"]["loss"], start.config.vocab_size, options),
        "options": dataclasses.asdict(options),
        "workers": workers.count,
        "resumed": resume,
        "duration_s": round(time.monotonic() - began, 1),
    }


def _warnings(loss: float, vocab_size: int, options: PretrainOptions) -> list[str]:
    """Say so if the loss is above that of a model that considers all words and both orders equal.

    A model of random weights starts there.
    """
    guessing = math.log(vocab_size) + math.log(2)
    if loss <= 1.1 * guessing:  # random weights do not guess exactly so
        return []
    return [
        (
            f"the training diverged: its loss is {loss:.3g} at the end; that of guessing is "
            f"{guessing:.3g}."
        ),
        f"train again with a lower learning rate; it was {options.learning_rate:g}.",
    ]


def _start(
    documents: Sequence[Sequence[str]],
    source: str | None,
    config: Path | None,
    tokenizer: Path | None,
    options: PretrainOptions,
) -> Checkpoint:
    if source is not None:
        start = read_checkpoint(source, task=_TASK, init_head=True)
        if not start.tokenizer_files:
            raise TrainingError(f"{source} has no tokenizer; put its spiece.model beside it.")
        check_length(start.config, options)
        return start
    shape = DEFAULT_CONFIG if config is None else AlbertConfig.read(config)
    check_length(shape, options)
    used = (
        train_vocabulary(chain(*documents), size=shape.vocab_size)
        if tokenizer is None
        else load_tokenizer(tokenizer)
    )
    if used.vocab_size > shape.vocab_size:
        raise TrainingError(
            f"the tokenizer has {used.vocab_size} pieces, the model {shape.vocab_size}; raise "
            "vocab_size in --config."
        )
    shape = dataclasses.replace(shape, vocab_size=used.vocab_size)
    tensors = init_model(shape, _TASK, seed=options.seed)
    files = used.files()
    return Checkpoint(
        config=shape, task=_TASK, tensors=tensors, tokenizer_files=files, source="random weights"
    )


def encode(
    documents: Sequence[Sequence[str]], tokenizer: Tokenizer, *, least: int = 2
) -> list[Document]:
    """Encode documents as `encode_documents` does.

    Raises:
        TrainingError: There are documents, but none with tokens.
    """
    encoded = encode_documents(documents, tokenizer, least=least)
    if documents and not encoded:
        raise TrainingError("the tokenizer finds no tokens in the texts; is it for this language?")
    return encoded


def check_length(shape: AlbertConfig, options: PretrainOptions) -> None:
    """Check that a model has positions for as many tokens as the options say.

    Raises:
        TrainingError: It has fewer.
    """
    if options.max_length > (most := shape.max_position_embeddings):
        raise TrainingError(f"max_length must be at most {most}, not {options.max_length}.")
