"""The default engine: this project's runtime, and what runs its operators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.benchmark.engine import _count_replaced, open_reference
from albert_edge.benchmark.measure import Measurement, measure
from albert_edge.errors import BundleError
from albert_edge.runtime import open_model
from benchmark.samples import BRIEF


def test_the_runtime_and_its_delegate_are_reported(
    measurement: Measurement, tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    assert measurement.runtime == open_model(tiny_tflite()).runtime
    # The runtime lists the main graph only, and a loop's body is another.
    assert (measurement.delegate, measurement.operators_delegated) == ("XNNPACK", None)
    path = tmp_path / "unrolled.tflite"
    path.write_bytes(tiny_tflite(layout="unrolled"))
    unrolled = measure(path, seq_len=8, **BRIEF)
    # Its GATHER of embeddings is not XNNPACK's; the products are.
    assert 3 * 6 < unrolled.operators_delegated < unrolled.operators


def test_the_reference_runs_without_a_delegate(tiny_file: Path) -> None:
    plain, usual = open_reference(str(tiny_file)), open_model(tiny_file)
    ids = [2, 9, 7, 3]
    # Sums in another order: float32 roundings of values around 1.
    np.testing.assert_allclose(plain.run(ids)["logits"], usual.run(ids)["logits"], atol=1e-5)
    assert plain.bundle == usual.bundle
    with pytest.raises(BundleError, match=r"cannot read none\.tflite"):
        open_reference("none.tflite")


def test_operators_are_counted_between_the_delegate_s_inputs_and_outputs() -> None:
    def node(index: int, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
        return {"index": index, "inputs": inputs, "outputs": outputs}

    # 0 → [10] → 1 → [11] → 2 → [12] → 3, of which the delegate replaces 11 and 12.
    nodes = [node(10, [0], [1]), node(11, [1], [2]), node(12, [2, 1], [3])]
    assert _count_replaced({"inputs": [1], "outputs": [3]}, nodes) == 2
    assert _count_replaced({"inputs": [0], "outputs": [3]}, nodes) == 3
    assert _count_replaced({"inputs": [3], "outputs": [3]}, nodes) == 0
