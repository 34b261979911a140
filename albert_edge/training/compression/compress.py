"""Compress a model while it is trained, from a checkpoint and a data file to a checkpoint."""

from __future__ import annotations

import dataclasses
import io
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rich.console import Console

from albert_edge.bundle.bundle import model_bytes
from albert_edge.checkpoints import Checkpoint, check_folder, read_checkpoint, write_checkpoint
from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.errors import TrainingError, requires_extra
from albert_edge.evaluation.intervals import paired_interval, wilson
from albert_edge.pipelines import load
from albert_edge.quantization.calibration import MOST_TEXTS
from albert_edge.tasks import TASKS
from albert_edge.training.compression.int8_weights import describe_matrix, is_compressible

__all__ = ["compress_files"]

Probabilities: TypeAlias = np.ndarray | None  # float [n, num_labels], rows sum to 1


with requires_extra("train"):
    from albert_edge.conversion import convert
    from albert_edge.modeling import from_checkpoint
    from albert_edge.training.compression.cluster import Clustered
    from albert_edge.training.compression.methods import (
        Cluster,
        Method,
        Narrow,
        Prune,
        default_options,
    )
    from albert_edge.training.compression.narrow import narrow, narrow_report
    from albert_edge.training.compression.prune import Pruned
    from albert_edge.training.compression.qat import Quantized, calibrate
    from albert_edge.training.distill import distill, predict_proba
    from albert_edge.training.finetune import (
        EpochResult,
        StepCallback,
        check_objective,
        find_warnings,
        finetune,
    )
    from albert_edge.training.init import with_new_head
    from albert_edge.training.objective import TaskObjective
    from albert_edge.training.options import FinetuneOptions
    from albert_edge.training.progress import epoch_progress
    from albert_edge.training.state import (
        StateWriter,
        TrainingState,
        check_state,
        fingerprint,
        open_state,
    )
    from albert_edge.training.tasks import OBJECTIVES
    from albert_edge.training.teacher import Teacher
    from albert_edge.training.trainer import MakeConstraint, Unconstrained


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What a method trains.

    Attributes:
        checkpoint: The model before the first step, without dropout.
        objective: The examples and their targets.
        constrain: The constraint on the weights.
        teacher: The model to learn from beside the targets, if any.
    """

    checkpoint: Checkpoint
    objective: TaskObjective
    constrain: MakeConstraint = Unconstrained
    teacher: Teacher | None = None


def compress(
    start: Checkpoint,
    data: Examples,
    *,
    method: Method,
    share: float | None = None,
    dev: Examples | None = None,
    options: FinetuneOptions | None = None,
    prepared: Prepared | None = None,
    writer: StateWriter | None = None,
    saved: TrainingState | None = None,
    progress: StepCallback = lambda done, loss, accuracy: None,
) -> Iterator[EpochResult]:
    """Compress `start` while it is trained on `data`; the last epoch's model is the result.

    Args:
        start: A checkpoint with the head and the labels of `data`, and its tokenizer.
        data: The training examples; of the kind `classification`, except for `Narrow`.
        method: The method of compression.
        share: The share of the targets that `start` predicts; the labels have the rest.  The
            method's default if left out.  `Narrow` without a weight of outputs has none.
        dev: The examples to measure on after every epoch.
        options: The options of the training; the method's defaults if left out.
        prepared: What `prepare` returned for the same arguments, if it was called before.
        writer, saved, progress: As in `finetune`.

    Yields:
        The epochs; the `changes` of their checkpoints record the method.

    Raises:
        TrainingError: The data, the options and the checkpoint do not fit each other, or the loss
            diverged.
    """
    options = options or default_options(method)
    share = _share(method, share)
    prepared = prepared or prepare(start, data, dev, method, share=share, options=options)
    dropout = {name: getattr(start.config, name) for name in _NO_DROPOUT}
    config = dataclasses.replace(prepared.checkpoint.config, **dropout)
    record = {**dataclasses.asdict(method), "source": start.source, "sha256": start.sha256}
    for result in finetune(
        prepared.checkpoint,
        prepared.objective,
        dev=dev,
        options=options,
        constrain=prepared.constrain,
        teacher=prepared.teacher,
        writer=writer,
        saved=saved,
        progress=progress,
    ):
        changes = {**start.changes, method.name: record}
        checkpoint = dataclasses.replace(result.checkpoint, config=config, changes=changes)
        yield dataclasses.replace(result, checkpoint=checkpoint)


# The targets are predictions without dropout.  On the embedded model, pruned to a half, the
# compressed model then agrees with the dense one on 97% of the sentences, not 93%.
_NO_DROPOUT: dict[str, Any] = dict.fromkeys(
    ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob"), 0.0
)


def prepare(
    start: Checkpoint,
    data: Examples,
    dev: Examples | None,
    method: Method,
    *,
    share: float,
    options: FinetuneOptions,
) -> Prepared:
    """Make what a method trains; arguments and errors as of `compress`."""
    if data.kind != "classification" and not isinstance(method, Narrow):
        raise TrainingError(f"{method.name} trains on examples of classification, not {data.kind}.")
    objective = OBJECTIVES[data.kind](data)
    check_objective(start, objective, dev, options)
    plain = dataclasses.replace(start, config=dataclasses.replace(start.config, **_NO_DROPOUT))
    if isinstance(method, Narrow):
        return Prepared(
            checkpoint=narrow(plain, data, method=method, options=options),
            objective=objective,
            teacher=Teacher(plain, share=share, weight=method.outputs_weight),
        )
    constrain: MakeConstraint
    if isinstance(method, Prune):
        constrain = partial(Pruned, method=method)
    elif isinstance(method, Cluster):
        constrain = partial(Clustered, method=method)
    else:
        plain, ranges = calibrate(plain, _sample_texts(data), method=method)
        constrain = partial(Quantized, method=method, start=ranges)
    targets = distill(start, data, share=share)
    return Prepared(checkpoint=plain, objective=targets, constrain=constrain)


def _share(method: Method, share: float | None) -> float:
    """Return the share of the targets that the source predicts, checked."""
    if share is None:
        return method.share
    if not 0 <= share <= 1:
        raise TrainingError(f"the share of distilled targets must be in [0, 1], not {share}.")
    if isinstance(method, Narrow) and not method.outputs_weight:
        raise TrainingError(
            "narrow learns the hidden states alone, of which there are no shares to distill; give "
            "outputs_weight (--outputs-weight) above 0 to learn predictions and labels too."
        )
    return share


def _sample_texts(data: Examples) -> list[str]:
    """Return evenly spaced texts of a table: as many as calibration takes, or a few more."""
    return [inputs["text"] for inputs in data.inputs[:: max(len(data) // MOST_TEXTS, 1)]]


def compress_files(
    source: str,
    data: Path,
    output: Path,
    *,
    method: Method,
    share: float | None = None,
    dev: Path | None = None,
    options: FinetuneOptions | None = None,
    save_every_s: float = 60.0,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Compress a checkpoint while it is trained on a table; write it at the end.

    The state of the training is saved at intervals beside the output, in `OUTPUT.training`.

    Args:
        source: The checkpoint, as `read_checkpoint` takes it.
        data: The training data, in a form that `evaluate` reads for the same task: a table of
            texts, or for `Narrow` that of any task with labels.
        output: The directory to write.  Its parent must exist.
        method: The method of compression.
        share: As in `compress`.
        dev: Data to measure on, before and after.
        options: The options of the training; the method's defaults if left out.
        save_every_s: The least time between two saves of the state.
        resume: Whether to resume an interrupted training.
        force: Whether to replace a checkpoint in `output`, and to discard an interrupted training.
        console: The console for progress bars, if it is a terminal.

    Returns:
        A report ready for JSON: `output`, `method` and its settings; `accuracy` of the float
        weights `before` and `after`; `quantize`, the recipe that the method is for; by its name, of
        the file `before` and `after`, without its tokenizer: `size_bytes`, `zip_bytes` (deflated at
        level 9), `huffman_bytes` (deflated with Huffman coding alone, as there are no repetitions),
        `accuracy` on a device and its 95% interval, `source_agreement` and `source_difference`: the
        share of texts with the label that the source predicts in float32, and the mean difference
        of the probabilities; `change` of that accuracy, with its own interval, which is narrower as
        both files are measured on the same texts; likewise `source_difference_change`;
        `agreement`, the share of texts with the same label from both files; `zip_share`, the zip
        after over the file before; `zip_share_of_zip`, over the zip before; `tensors`, of every
        compressed matrix its zeros and int8 codes; `epochs`, `warnings` as of `finetune_files`,
        `options`.  Accuracies and figures that depend on them are None without `dev`.  Of `Narrow`
        it has the figures of `narrow_report` instead of those of the files.

    Raises:
        InputError: A table cannot be read or does not fit.
        TrainingError: The table, an option or the source is invalid, or the state to resume from is
            missing, damaged, or of another training.
        CheckpointError: `source` cannot be read.
        OutputError: `output` holds a checkpoint or an interrupted training and `force` is false,
            or cannot be written.
    """
    options = options or default_options(method)
    share = _share(method, share)
    began = time.monotonic()
    check_folder(output, force=force or resume)
    state = output.with_name(f"{output.name}.training")
    check_state(state, resume=resume, force=force)
    start = read_checkpoint(source)
    kind = "classification"
    if isinstance(method, Narrow):
        method.sizes(start.config)  # before the data, so that an error comes at once
        kind = _kind(start)
    train, held_out = _read(data, dev, start, kind, options)
    owner = _fingerprint(start, train, method, share, options)
    saved = open_state(state, owner=owner, resume=resume)
    epochs: list[dict[str, Any]] = []
    with epoch_progress(console, epochs, options.epochs, description="preparing") as progress:
        prepared = prepare(start, train, held_out, method, share=share, options=options)
        for result in compress(
            start,
            train,
            method=method,
            dev=held_out,
            options=options,
            prepared=prepared,
            writer=StateWriter(state, owner, every_s=save_every_s),
            saved=saved,
            progress=progress,
        ):
            epochs.append(result.to_dict())
    write_checkpoint(output, result.checkpoint, force=force or resume)
    state.unlink(missing_ok=True)
    if isinstance(method, Narrow):
        figures = narrow_report(
            {"before": start, "removed": prepared.checkpoint, "after": result.checkpoint},
            held_out,
            quantize=method.quantize,
        )
    else:
        figures = compression_report(
            start,
            result.checkpoint,
            held_out,
            quantize=method.quantize,
            calibration=_sample_texts(train),
        )
    return {
        "output": str(output),
        "method": method.name,
        **dataclasses.asdict(method),
        "distilled_share": share,
        "train_examples": len(train),
        "dev_examples": len(held_out) if held_out else None,
        **figures,
        "epochs": epochs,
        "warnings": find_warnings(epochs, result, data=train, dev=held_out, options=options),
        "options": dataclasses.asdict(options),
        "resumed": resume,
        "duration_s": round(time.monotonic() - began, 1),
    }


def _kind(start: Checkpoint) -> str:
    """Return the kind of the examples that a checkpoint's head is for."""
    kind = start.config.kind if start.task == "classification" else start.task
    if kind not in OBJECTIVES:
        raise TrainingError(
            f"{start.source} is for {kind}, which has no labels to learn back from; give it a head "
            "first, with albert-edge finetune --init-head, and narrow that."
        )
    return kind


def _read(
    data: Path, dev: Path | None, start: Checkpoint, kind: str, options: FinetuneOptions
) -> tuple[Examples, Examples | None]:
    single = kind == "classification"
    labels = start.config.labels if single or TASKS[start.task].has_labels else ()
    task = "classification" if single else start.task
    start = with_new_head(start, labels, seed=0, task=task)
    read = partial(read_examples, kind=kind, labels=labels)
    train, held_out = read(data), None if dev is None else read(dev)
    check_objective(start, OBJECTIVES[kind](train), held_out, options)
    return train, held_out


def _fingerprint(
    start: Checkpoint, data: Examples, method: Method, share: float, options: FinetuneOptions
) -> str:
    if isinstance(method, Narrow):
        parts: list[Any] = [data.labels, data.inputs, data.targets, data.answer_starts]
    else:
        texts = [inputs["text"] for inputs in data.inputs]
        pairs = [inputs["pair"] for inputs in data.inputs if "pair" in inputs]
        parts = [data.labels, texts, data.class_indices(), *([pairs] if pairs else [])]
    return fingerprint(start, *parts, method, share, options)


# Report on a compressed text classifier: sizes, accuracy, and agreement with the source.


def compression_report(
    before: Checkpoint,
    after: Checkpoint,
    dev: Examples | None,
    *,
    quantize: str,
    calibration: Sequence[str],
) -> dict[str, Any]:
    """Compare two checkpoints, and the files that they are converted to.

    Args:
        before, after: The checkpoints.
        dev: The texts to measure both on.
        quantize: The recipe of the files.
        calibration: Texts for a recipe that needs them.

    Returns:
        The figures of the two in the report of `compress_files`.
    """
    source, trained = (predict_proba(one, dev) if dev else None for one in (before, after))
    blobs = [
        convert(from_checkpoint(one), quantize=quantize, calibration=calibration).blob
        for one in (before, after)
    ]
    first, last = (None if dev is None else _predict(blob, dev) for blob in blobs)
    old = {**_sizes(blobs[0]), **_quality(first, source, dev)}
    new = {**_sizes(blobs[1]), **_quality(last, source, dev)}
    return {
        "accuracy": {"before": _accuracy(source, dev), "after": _accuracy(trained, dev)},
        "quantize": quantize,
        quantize: {"before": old, "after": new},
        "change": _accuracy_change(first, last, dev),
        "source_difference_change": _difference_change(first, last, source),
        "agreement": _agreement(first, last),
        "zip_share": round(new["zip_bytes"] / old["size_bytes"], 4),
        "zip_share_of_zip": round(new["zip_bytes"] / old["zip_bytes"], 4),
        "tensors": {
            name: describe_matrix(after.tensors, name)
            for name in after.tensors
            if is_compressible(name)
        },
    }


def _predict(blob: bytes, dev: Examples) -> np.ndarray:
    """Return the probabilities that a file predicts on a device: float64 [n, num_labels]."""
    pipe = load(blob)
    scores = [pipe(**inputs)["scores"] for inputs in dev.inputs]
    return np.array([[one[label] for label in dev.labels] for one in scores])


def _sizes(blob: bytes) -> dict[str, int]:
    model = model_bytes(blob)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model.tflite", model)
    # Level 9 codes every repetition of three bytes as a match, in more bits than three zeros take.
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, strategy=zlib.Z_HUFFMAN_ONLY)
    return {
        "size_bytes": len(model),
        "zip_bytes": len(packed.getvalue()),
        "huffman_bytes": len(coder.compress(model) + coder.flush()),
    }


def _quality(
    predicted: Probabilities, source: Probabilities, dev: Examples | None
) -> dict[str, Any]:
    """Return the accuracy of a file, and its difference from the source in float32."""
    accuracy, interval, difference = _accuracy(predicted, dev), None, None
    if accuracy is not None and dev is not None:
        bounds = wilson(round(accuracy * len(dev)), len(dev))
        interval = [round(bound, 4) for bound in bounds]
    if predicted is not None and source is not None:
        difference = round(float(np.mean(np.abs(predicted - source))), 5)
    return {
        "accuracy": accuracy,
        "interval": interval,
        "source_agreement": _agreement(predicted, source),
        "source_difference": difference,
    }


def _accuracy(predicted: Probabilities, dev: Examples | None) -> float | None:
    if predicted is None or dev is None:
        return None
    return float(np.mean(predicted.argmax(axis=-1) == dev.class_indices()))


def _agreement(first: Probabilities, second: Probabilities) -> float | None:
    if first is None or second is None:
        return None
    return round(float(np.mean(first.argmax(axis=-1) == second.argmax(axis=-1))), 4)


def _difference_change(
    before: Probabilities, after: Probabilities, source: Probabilities
) -> dict[str, Any] | None:
    """Return the change of `source_difference`, and its 95% interval on the same texts."""
    if before is None or after is None or source is None:
        return None
    old, new = (np.abs(one - source).mean(axis=-1) for one in (before, after))
    value, half = float((new - old).mean()), 1.96 * float((new - old).std() / len(old) ** 0.5)
    return {"value": round(value, 5), "interval": [round(value - half, 5), round(value + half, 5)]}


def _accuracy_change(
    before: Probabilities, after: Probabilities, dev: Examples | None
) -> dict[str, Any] | None:
    """Return the change in accuracy, and its 95% interval on the same texts."""
    if before is None or after is None or dev is None:
        return None
    old, new = (one.argmax(axis=-1) == dev.class_indices() for one in (before, after))
    lost, won = int(np.sum(old & ~new)), int(np.sum(~old & new))
    bounds = paired_interval(lost, won, len(dev))
    value = (won - lost) / len(dev)
    return {"value": round(value, 4), "interval": [round(bound, 4) for bound in bounds]}
