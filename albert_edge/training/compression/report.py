"""What the compression of a text classifier gained, and what it cost."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from albert_edge.bundle.bundle import model_bytes
from albert_edge.checkpoints import Checkpoint
from albert_edge.conversion import convert
from albert_edge.datasets.examples import Examples
from albert_edge.evaluation.intervals import paired_interval
from albert_edge.modeling.load import from_checkpoint
from albert_edge.pipelines import load
from albert_edge.training.compression.int8_weights import describe_matrix, is_compressible
from albert_edge.training.distill import predict_proba
from albert_edge.training.finetune_files import wilson_interval

__all__ = ["compression_report"]

Shares: TypeAlias = np.ndarray | None  # of each class in each answer, [n, num_labels]


def compression_report(
    before: Checkpoint,
    after: Checkpoint,
    dev: Examples | None,
    *,
    quantize: str,
    calibration: Sequence[str],
) -> dict[str, Any]:
    """Compare two checkpoints, and the files that are made of them.

    Args:
        before, after: The checkpoints.
        dev: Texts to ask both about.
        quantize: The recipe of the files.
        calibration: Texts for a recipe that needs them.

    Returns:
        The part of `compress_files`' report that is about the two.
    """
    meant, became = (predict_proba(one, dev) if dev else None for one in (before, after))
    blobs = [
        convert(from_checkpoint(one), quantize=quantize, calibration=calibration).blob
        for one in (before, after)
    ]
    first, last = (None if dev is None else _ask(blob, dev) for blob in blobs)
    old = {**_sizes(blobs[0]), **_answers(first, meant, dev)}
    new = {**_sizes(blobs[1]), **_answers(last, meant, dev)}
    return {
        "accuracy": {"before": _accuracy(meant, dev), "after": _accuracy(became, dev)},
        "quantize": quantize,
        quantize: {"before": old, "after": new},
        "change": _change(first, last, dev),
        "source_difference_change": _nearer(first, last, meant),
        "agreement": _agreement(first, last),
        "zip_share": round(new["zip_bytes"] / old["size_bytes"], 4),
        "zip_share_of_zip": round(new["zip_bytes"] / old["zip_bytes"], 4),
        "tensors": {
            name: describe_matrix(after.tensors, name)
            for name in after.tensors
            if is_compressible(name)
        },
    }


def _ask(blob: bytes, dev: Examples) -> np.ndarray:
    """Return the probabilities that a file finds, as a device does: float64 [n, num_labels]."""
    pipe = load(blob)
    answers = (pipe(**inputs)["scores"] for inputs in dev.inputs)
    return np.array([[scores[label] for label in dev.labels] for scores in answers])


def _sizes(blob: bytes) -> dict[str, int]:
    model = model_bytes(blob)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model.tflite", model)
    # zlib takes any match of three bytes, though to say where it is costs more than three zeros.
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, strategy=zlib.Z_HUFFMAN_ONLY)
    return {
        "size_bytes": len(model),
        "zip_bytes": len(packed.getvalue()),
        "huffman_bytes": len(coder.compress(model) + coder.flush()),
    }


def _answers(said: Shares, meant: Shares, dev: Examples | None) -> dict[str, Any]:
    """Return how right a file is, and how near to what the source says in float32."""
    accuracy = _accuracy(said, dev)
    off = None if said is None or meant is None else float(np.mean(np.abs(said - meant)))
    return {
        "accuracy": accuracy,
        "interval": wilson_interval(accuracy, dev),
        "source_agreement": _agreement(said, meant),
        "source_difference": None if off is None else round(off, 5),
    }


def _accuracy(shares: Shares, dev: Examples | None) -> float | None:
    if shares is None or dev is None:
        return None
    return float(np.mean(shares.argmax(axis=-1) == dev.class_indices()))


def _agreement(first: Shares, second: Shares) -> float | None:
    if first is None or second is None:
        return None
    return round(float(np.mean(first.argmax(axis=-1) == second.argmax(axis=-1))), 4)


def _nearer(before: Shares, after: Shares, meant: Shares) -> dict[str, Any] | None:
    """Return the change of `source_difference`, and its 95% interval on the same texts."""
    if before is None or after is None or meant is None:
        return None
    old, new = (np.abs(shares - meant).mean(axis=-1) for shares in (before, after))
    value, half = float((new - old).mean()), 1.96 * float((new - old).std() / len(old) ** 0.5)
    return {"value": round(value, 5), "interval": [round(value - half, 5), round(value + half, 5)]}


def _change(before: Shares, after: Shares, dev: Examples | None) -> dict[str, Any] | None:
    """Return the change in accuracy, and its 95% interval on the same texts."""
    if before is None or after is None or dev is None:
        return None
    was, now = (shares.argmax(axis=-1) == dev.class_indices() for shares in (before, after))
    lost, won = int(np.sum(was & ~now)), int(np.sum(~was & now))
    bounds = paired_interval(lost, won, len(dev))
    value = (won - lost) / len(dev)
    return {"value": round(value, 4), "interval": [round(bound, 4) for bound in bounds]}
