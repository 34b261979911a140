"""From text files on disk to a pre-trained checkpoint on disk."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from albert_edge.checkpoints import Checkpoint, read_checkpoint
from albert_edge.checkpoints.init import count_parameters, init_model
from albert_edge.config import AlbertConfig
from albert_edge.errors import OutputError, TrainingError, requires_extra
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.train import train_vocabulary
from albert_edge.training.init import DEFAULT_CONFIG, cooccurrence_embeddings
from albert_edge.training.pretraining.corpus import Document, encode_documents, read_documents
from albert_edge.training.pretraining.options import PretrainOptions

__all__ = ["pretrain_files"]

with requires_extra("train"):
    from albert_edge.training.finetune_files import check_output, training_bars
    from albert_edge.training.pretraining.distributed import DistributedContext
    from albert_edge.training.pretraining.loop import STATE_FILE, pretrain

_TASK = "pretraining"
_WORDS = "embeddings/word_embeddings"
_WORD_SCALE = 0.2  # the root mean square of a first embedding's numbers


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
        texts: UTF-8 files; documents are apart by a blank line.
        output: The directory to write, which `read_checkpoint` reads.  Its parent must exist.
        source: The checkpoint to start from; None for a new model.
        config: The `config.json` of a new model; None for `start.DEFAULT_CONFIG`.
        tokenizer: The tokenizer of a new model; None to train a vocabulary on `texts`.
        cooccurrence: Whether a new model's word embeddings start from which words keep company.
        dev: Text files to examine the model on.
        options: How to train.
        resume: Whether to go on with a training that was interrupted, with the same arguments.
        force: Whether what is in `output` may be replaced.
        console: Where to show progress, if it is a terminal.

    Returns:
        A report ready for JSON: `output`, `parameters`, `drawn` (the tensors of the head that
        `source` lacks, which began random), `documents`, `tokens`, `steps`, `epochs` (how often
        the texts were seen, about), `curve` (every examination), `options`, `workers`, `resumed`,
        `duration_s` (of this run).

    Raises:
        TrainingError: A text or an option cannot work, or the training cannot be resumed.
        CheckpointError: `source` cannot be read.
        ConfigError: `config` cannot be read.
        TokenizerError: `tokenizer` cannot be read.
        OutputError: `output` holds something and `force` is false, or cannot be written.
    """
    options = options or PretrainOptions()
    began = time.monotonic()
    if source is not None and (config or tokenizer or cooccurrence):
        raise TrainingError(
            "--from brings its own shape, tokenizer and word embeddings; leave out --config, "
            "--tokenizer and --cooccurrence."
        )
    with training_bars(console) as bars:
        bar = bars.add_task("waiting for the other workers", total=options.steps)
        workers = DistributedContext.from_environment()
        workers.check(options)
        if workers.first:
            _check_output(output, resume=resume, force=force)
        bars.update(bar, description="reading the texts")
        documents, held_out = read_documents(texts), read_documents(dev)
        start = _start(documents, source, config, tokenizer, options)
        used = tokenizer_from_files(start.tokenizer_files)
        encoded = _encode(documents, used)
        if cooccurrence:
            start = _with_company(start, encoded, options.seed)

        def tell(step: int, found: Mapping[str, float]) -> None:
            words, order = found["mlm_accuracy"], found["sop_accuracy"]
            text = f"loss {found['loss']:.3f}  words {words:.3f}  order {order:.3f}"
            bars.update(bar, completed=step, description=f"step {step}/{options.steps}  {text}")

        curve = pretrain(
            start,
            encoded,
            output=output,
            held_out=_encode(held_out, used),
            options=options,
            resume=resume,
            workers=workers,
            progress=tell,
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
        "curve": curve.points,
        "options": dataclasses.asdict(options),
        "workers": workers.count,
        "resumed": resume,
        "duration_s": round(time.monotonic() - began, 1),
    }


def _check_output(output: Path, *, resume: bool, force: bool) -> None:
    """Find out before the training that the output cannot be written."""
    if resume and force:
        raise TrainingError("a training is either resumed or, with --force, begun anew.")
    state = output / STATE_FILE
    if state.exists() and not (resume or force):
        raise OutputError(
            f"{state} is a training that was interrupted; --resume goes on with it, --force "
            "forgets it."
        )
    if resume and not state.exists():
        raise TrainingError(f"{state} does not exist; there is no training to resume.")
    check_output(output, force=force or resume)


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
        _check_length(start.config, options)
        return start
    shape = DEFAULT_CONFIG if config is None else AlbertConfig.read(config)
    _check_length(shape, options)
    pieces = _tokenizer(documents, shape, tokenizer)
    if pieces.vocab_size > shape.vocab_size:
        raise TrainingError(
            f"the tokenizer has {pieces.vocab_size} pieces, the shape {shape.vocab_size}; raise "
            "vocab_size in --config."
        )
    shape = dataclasses.replace(shape, vocab_size=pieces.vocab_size)
    tensors = init_model(shape, _TASK, seed=options.seed)
    files = pieces.files()
    return Checkpoint(
        config=shape, task=_TASK, tensors=tensors, tokenizer_files=files, source="random weights"
    )


def _tokenizer(
    documents: Sequence[Sequence[str]], shape: AlbertConfig, tokenizer: Path | None
) -> Tokenizer:
    if tokenizer is not None:
        return load_tokenizer(tokenizer)
    return train_vocabulary(chain(*documents), size=shape.vocab_size)


def _encode(documents: Sequence[Sequence[str]], tokenizer: Tokenizer) -> list[Document]:
    encoded = encode_documents(documents, tokenizer)
    if documents and not encoded:
        raise TrainingError("the tokenizer finds no tokens in the texts; is it for this language?")
    return encoded


def _with_company(start: Checkpoint, documents: Sequence[Document], seed: int) -> Checkpoint:
    """Let words that keep the same company start close together."""
    table = start.tensors[_WORDS]
    vectors = cooccurrence_embeddings(
        [np.concatenate(document).tolist() for document in documents],
        rows=len(table),
        size=table.shape[1],
        seed=seed,
    )
    known = vectors.any(axis=1, keepdims=True)
    words = np.where(known, _WORD_SCALE * table.shape[1] ** 0.5 * vectors, table)
    return dataclasses.replace(start, tensors={**start.tensors, _WORDS: words.astype(np.float32)})


def _check_length(shape: AlbertConfig, options: PretrainOptions) -> None:
    if options.max_length > (most := shape.max_position_embeddings):
        raise TrainingError(f"max_length must be at most {most}, not {options.max_length}.")
