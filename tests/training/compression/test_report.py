"""The figures of a compressed model: by hand, and None for what is unknown."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from albert_edge.bundle.bundle import model_bytes
from albert_edge.datasets.examples import Examples
from albert_edge.evaluation.intervals import paired_interval, wilson
from albert_edge.training.compression.report import (
    _accuracy_change,
    _agreement,
    _difference_change,
    _quality,
    _sizes,
)

DEV = Examples(
    kind="classification",
    ids=list("0123"),
    places=list("0123"),
    inputs=[{"text": "a"}] * 4,
    targets=["no", "yes", "yes", "no"],
    labels=("no", "yes"),
)
SOURCE = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])  # right, right, wrong, right
OTHER = np.array([[0.4, 0.6], [0.1, 0.9], [0.3, 0.7], [0.7, 0.3]])  # wrong, right, right, right


def test_the_quality_of_a_file() -> None:
    found = _quality(OTHER, SOURCE, DEV)
    assert found["accuracy"] == 0.75
    assert found["interval"] == [round(bound, 4) for bound in wilson(3, 4)]
    assert found["source_agreement"] == 0.5
    assert found["source_difference"] == pytest.approx((0.5 + 0.1 + 0.3 + 0) / 4)


def test_changes_are_of_the_same_texts() -> None:
    assert _accuracy_change(SOURCE, OTHER, DEV) == {
        "value": 0.0,
        "interval": [round(bound, 4) for bound in paired_interval(1, 1, 4)],
    }
    assert _agreement(SOURCE, OTHER) == 0.5
    found: Any = _difference_change(SOURCE, OTHER, SOURCE)
    changes = np.array([0.5, 0.1, 0.3, 0.0])
    assert found["value"] == pytest.approx(changes.mean())
    half = 1.96 * changes.std() / 2
    assert found["interval"] == pytest.approx(
        [changes.mean() - half, changes.mean() + half], abs=1e-5
    )


def test_without_a_dev_set_nothing_is_known() -> None:
    assert set(_quality(None, None, None).values()) == {None}
    assert _accuracy_change(None, None, None) is None
    assert _difference_change(None, None, None) is None
    assert _agreement(SOURCE, None) is None


def test_sizes_are_of_the_model_alone(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("classification")
    found = _sizes(blob)
    assert found["size_bytes"] == len(model_bytes(blob)) < len(blob)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model.tflite", model_bytes(blob))
    assert found["zip_bytes"] == len(packed.getvalue())
    assert found["zip_bytes"] < found["huffman_bytes"] < found["size_bytes"]
