"""Report on a compressed text classifier: sizes, accuracy, and agreement with the source."""

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
from albert_edge.evaluation.intervals import paired_interval, wilson
from albert_edge.modeling.load import from_checkpoint
from albert_edge.pipelines import load
from albert_edge.training.compression.int8_weights import describe_matrix, is_compressible
from albert_edge.training.distill import predict_proba

__all__ = ["compression_report"]

Probabilities: TypeAlias = np.ndarray | None  # float [n, num_labels], rows sum to 1


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
