"""Distill from files to a checkpoint on disk: on plain text, or on the examples of a task."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from albert_edge.checkpoints import Checkpoint, count_parameters, read_checkpoint
from albert_edge.checkpoints.trim_vocab import match_vocabulary, trim_vocabulary
from albert_edge.datasets import EvaluateOptions, read_examples
from albert_edge.errors import TrainingError, requires_extra
from albert_edge.tasks import PROBLEM_TYPES
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.distillation.options import (
    ON_TASK,
    ON_TEXT,
    StudentShape,
    Teaching,
)
from albert_edge.training.options import BestCheckpoint, FinetuneOptions
from albert_edge.training.pretraining.corpus import Document, read_documents
from albert_edge.training.pretraining.options import PretrainOptions

__all__ = ["distill"]

with requires_extra("train"):
    from albert_edge.training.distill import Teacher
    from albert_edge.training.distillation.texts import TextBatches
    from albert_edge.training.distillation.trainer import DistillTrainer
    from albert_edge.training.finetune_files import finetune_files, texts_of
    from albert_edge.training.init import make_student
    from albert_edge.training.pretraining.loop import (
        fingerprint_texts,
        join_workers,
        train_on_batches,
    )
    from albert_edge.training.pretraining.pretrain_files import check_length, encode
    from albert_edge.training.progress import progress_bars
    from albert_edge.training.state import fingerprint

_ENCODER = "feature-extraction"


def distill(
    teacher: str,
    output: Path,
    *,
    texts: Sequence[Path] = (),
    data: Path | None = None,
    task: str | None = None,
    dev: Sequence[Path] = (),
    student: str | None = None,
    shape: StudentShape | None = None,
    trim: bool = False,
    teaching: Teaching | None = None,
    text_options: PretrainOptions | None = None,
    task_options: FinetuneOptions | None = None,
    data_options: EvaluateOptions | None = None,
    selection: BestCheckpoint | None = None,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Distill a teacher, which may be a BERT, into a narrower ALBERT.

    With `texts`, the student learns the teacher's hidden states (`trainer.DistillTrainer`), and the
    output is an encoder.  With `data`, it learns the teacher's outputs for a task beside the labels
    (`training.distill.TaughtObjective`).

    Args:
        teacher: The teacher, as `read_checkpoint` takes it.  For `data` it has the task's head.
        output: The directory to write, which `read_checkpoint` reads.  Its parent must exist.
        texts: UTF-8 files of plain text; a blank line parts documents.
        data: A data file as for `finetune_files`.
        task: The kind of its examples; None for the teacher's.
        dev: Held-out files to evaluate on: of text, or one like `data`.
        student: The checkpoint to start from; None for a new student.
        shape: The shape of a new student; None for `StudentShape()`.
        trim: Whether to trim the vocabulary to the words of `texts` or `data`.
        teaching: How the teacher counts beside the labels of `data`.
        text_options: The options of a training on `texts`; None for `options.ON_TEXT`.
        task_options: Those of a training on `data`; None for `options.ON_TASK`.
        data_options: The names of the columns of `data`.
        selection: The epoch that is kept of a training on `data`, and when to stop early.
        resume: Whether to resume an interrupted training, with the same arguments.
        force: Whether to replace a checkpoint or an interrupted training in `output`.
        console: The console for progress bars, if it is a terminal.

    Returns:
        A report ready for JSON.  Of a training on `texts`, that of `pretrain_files`, whose `curve`
        has the metrics `loss`, `layers` and `last_layer` (mean squares of the difference from the
        teacher's layers over their variance), `similarities`, `pooled` and `tokens` (of a step),
        with `tokens_per_s`.  Of one on `data`, that of `finetune_files`.  Both with `teacher`,
        `start`, what the student starts from, `shape`, and `vocabulary`, as in `trim_vocabulary`
        if it was trimmed.

    Raises:
        TrainingError: Both of `texts` and `data` are given, or neither; the teacher lacks a
            tokenizer or trained weights; a text, an example or an option is invalid; or the
            training cannot be resumed.
        CheckpointError: The teacher or the student cannot be read, or lacks the task's head.
        InputError: `data` cannot be read or does not fit.
        OutputError: `output` holds a checkpoint or an interrupted training and `force` is false,
            or it cannot be written.

    Example:
        >>> distill("MiniLM/", Path("encoder"), texts=[Path("books.txt")])  # doctest: +SKIP
    """
    if bool(texts) == (data is not None):
        raise TrainingError("give either plain text (--text) or the examples of a task (--data).")
    shape = shape or StudentShape()
    common: dict[str, Any] = {"dev": dev, "student": student, "shape": shape, "trim": trim}
    common |= {"resume": resume, "force": force, "console": console}
    if data is None:
        return _on_text(teacher, output, texts, options=text_options or ON_TEXT, **common)
    return _on_task(
        teacher,
        output,
        data,
        task=task,
        teaching=teaching or Teaching(),
        options=task_options or ON_TASK,
        data_options=data_options or EvaluateOptions(),
        selection=selection,
        save_every_s=(text_options or ON_TEXT).save_every_s,
        **common,
    )


def _on_text(
    teacher: str,
    output: Path,
    texts: Sequence[Path],
    *,
    dev: Sequence[Path],
    student: str | None,
    shape: StudentShape,
    trim: bool,
    options: PretrainOptions,
    resume: bool,
    force: bool,
    console: Console | None,
) -> dict[str, Any]:
    began = time.monotonic()
    with progress_bars(console) as bars:
        bar = bars.add_task("waiting for the other workers", total=options.steps)
        workers = join_workers(options, output, resume=resume, force=force)
        bars.update(bar, description="reading the texts")
        read = _read_teacher(teacher, _ENCODER)
        check_length(read.config, options)
        documents, held_out = (read_documents(files, least=1) for files in (texts, dev))
        if trim:
            read = trim_vocabulary(read, list(chain(*documents)))
        taught, start = _pair(read, student, shape, seed=options.seed)
        start = _encoder_of(start)
        tokenizer = tokenizer_from_files(start.tokenizer_files)
        encoded, held = (encode(one, tokenizer, least=1) for one in (documents, held_out))

        def batches(of: Sequence[Document], seed: int) -> TextBatches:
            size, length = options.batch_size, options.max_length
            return TextBatches(of, tokenizer, batch_size=size, max_length=length, seed=seed)

        counted, trained_from = 0.0, time.monotonic()

        def show_step(step: int, metrics: Mapping[str, float]) -> None:
            nonlocal counted
            counted += metrics["tokens"] * options.accumulate * workers.count
            speed = counted / (time.monotonic() - trained_from)
            text = f"loss {metrics['loss']:.3f}  {speed:,.0f} tokens/s"
            bars.update(bar, completed=step, description=f"step {step}/{options.steps}  {text}")

        log = train_on_batches(
            start,
            lambda: DistillTrainer(start, taught, options, strategy=workers.strategy),
            batches(encoded, options.seed),
            output=output,
            held_out=batches(held, options.seed + 1) if held else None,
            owner=fingerprint_texts(start, encoded, options, fingerprint(taught)),
            options=options,
            resume=resume,
            workers=workers,
            progress=show_step,
        )
        speed = counted / (time.monotonic() - trained_from)
    tokens = sum(len(sentence) for sentence in chain(*encoded))
    return {
        "output": str(output),
        **_describe(taught, start, student),
        "documents": len(encoded),
        "tokens": tokens,
        "steps": options.steps,
        "tokens_per_s": round(speed, 1),
        "curve": log.points,
        "warnings": _warnings(log.points[-1]["train"], options),
        "options": dataclasses.asdict(options),
        "workers": workers.count,
        "resumed": resume,
        "duration_s": round(time.monotonic() - began, 1),
    }


def _warnings(last: Mapping[str, float], options: PretrainOptions) -> list[str]:
    """Say so if the student is further from the teacher than a constant would be."""
    if last["layers"] < 1:
        return []
    rate = f"{options.learning_rate:g}"
    return [
        (
            "nothing was learned: the student's passes differ from the teacher's layers by "
            f"{last['layers']:.3g} times their variance; a constant differs by 1."
        ),
        f"train for more steps, or with another learning rate; it was {rate}.",
    ]


def _on_task(
    teacher: str,
    output: Path,
    data: Path,
    *,
    task: str | None,
    dev: Sequence[Path],
    student: str | None,
    shape: StudentShape,
    trim: bool,
    teaching: Teaching,
    options: FinetuneOptions,
    data_options: EvaluateOptions,
    selection: BestCheckpoint | None,
    save_every_s: float,
    **common: Any,
) -> dict[str, Any]:
    if len(dev) > 1:
        raise TrainingError("a task is evaluated on one dev set; give --dev once.")
    head = "classification" if task in PROBLEM_TYPES else task
    read = _read_teacher(teacher, head or "auto")
    kind = task or (read.config.kind if read.task == "classification" else read.task)
    if read.task == "classification" and kind != read.config.kind:
        raise TrainingError(f"{teacher} is for {read.config.kind}, not for {kind}.")
    labels = read.config.labels if _has_labels(read) else None
    if trim:
        read = trim_vocabulary(read, texts_of(read_examples(data, kind, labels, data_options)))
    taught, start = _pair(read, student, shape, seed=options.seed)
    report = finetune_files(
        data,
        output,
        source=start,
        init_head=True,
        dev=dev[0] if dev else None,
        task=kind,
        labels=labels,
        data_options=data_options,
        teacher=Teacher(taught, teaching),
        options=options,
        selection=selection,
        save_every_s=save_every_s,
        **common,
    )
    return {**report, **_describe(taught, start, student), "teaching": dataclasses.asdict(teaching)}


def _has_labels(teacher: Checkpoint) -> bool:
    return teacher.task in ("classification", "token-classification")


def _read_teacher(source: str, task: str) -> Checkpoint:
    """Read a teacher, all of whose weights are trained, and its tokenizer."""
    teacher = read_checkpoint(source, task=task)
    if teacher.randomly_initialized:
        raise TrainingError(
            f"{source} is a shape with random weights, which teach nothing; give a trained model, "
            f"such as albert/{source} of the Hugging Face Hub."
        )
    if not teacher.tokenizer_files:
        raise TrainingError(
            f"{source} has no tokenizer, so it cannot read text; put its vocab.txt, spiece.model "
            "or tokenizer.json into the directory."
        )
    return teacher


def _pair(
    teacher: Checkpoint, student: str | None, shape: StudentShape, *, seed: int
) -> tuple[Checkpoint, Checkpoint]:
    """Return the teacher and the student to start from, of the same vocabulary.

    Where the vocabulary of an existing student is a part of the teacher's, the teacher's is trimmed
    to it.
    """
    record = {"teacher": teacher.source, "sha256": teacher.sha256}
    if student is None:
        start = make_student(teacher, shape.of(teacher.config), seed=seed)
    else:
        start = read_checkpoint(student)
        if not start.tokenizer_files:
            raise TrainingError(
                f"{student} has no tokenizer; put that of its teacher into the directory."
            )
        teacher = match_vocabulary(teacher, start.tokenizer_files)
    changes = {**start.changes, "distill": {**start.changes.get("distill", {}), **record}}
    if "vocabulary" in teacher.changes:
        changes.setdefault("vocabulary", teacher.changes["vocabulary"])
    return teacher, dataclasses.replace(start, changes=changes)


def _encoder_of(start: Checkpoint) -> Checkpoint:
    """Return what is trained on text, without a head or a pooler."""
    parts = ("embeddings/", "encoder/")
    tensors = {name: one for name, one in start.tensors.items() if name.startswith(parts)}
    config = dataclasses.replace(start.config, early_exit=False)
    return dataclasses.replace(start, config=config, task=_ENCODER, tensors=tensors)


def _describe(teacher: Checkpoint, start: Checkpoint, student: str | None) -> dict[str, Any]:
    config = start.config
    beginning = f"the weights of {student}"
    if student is None:
        kept = start.changes["distill"]["embeddings_kept"]
        beginning = (
            f"the teacher's embeddings, {teacher.config.embedding_size} to {config.embedding_size} "
            f"wide by SVD ({kept:.1%} of their squares), and random weights"
        )
    shape = {field.name: getattr(config, field.name) for field in dataclasses.fields(StudentShape)}
    return {
        "teacher": teacher.source,
        "teacher_parameters": count_parameters(teacher.config, teacher.task),
        "parameters": count_parameters(config, start.task),
        "start": beginning,
        "shape": shape,
        "vocabulary": start.changes.get("vocabulary"),
    }
