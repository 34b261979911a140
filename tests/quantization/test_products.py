"""Eight bits hold what the host has scaled: outliers in rows, in channels, and off centre."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from albert_edge.errors import InputError
from albert_edge.quantization.products import _collect_inputs, fit_product, fit_products
from albert_edge.tflite.edgetpu_graph import CODES, ScaledProduct
from albert_edge.tflite.export import export_stages


def _multiply(product: ScaledProduct, values: np.ndarray) -> np.ndarray:
    """Compute a product as host and chip do."""
    scaled = (values - product.input_offset) * product.input_factor
    scale = np.abs(scaled).max(axis=1, keepdims=True)
    codes = np.round(scaled / scale * CODES)
    sums = codes @ product.weight.T.astype(np.float64) + product.chip_bias
    made = np.clip(np.round(sums * product.weight_scales), -128, 127) / CODES
    return (made * product.output_factor + product.output_offset) * scale + product.bias


def _error(values: np.ndarray, kernel: np.ndarray) -> float:
    bias = np.linspace(-3, 3, kernel.shape[1]).astype(np.float32)
    product = fit_product(kernel, bias, values.astype(np.float32))
    expected = values @ kernel + bias
    return float(np.linalg.norm(_multiply(product, values) - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("kind", ["plain", "large rows", "large channels", "off centre"])
def test_outliers_cost_little(kind: str) -> None:
    random = np.random.default_rng(0)
    values, kernel = random.normal(size=(500, 64)), random.normal(size=(64, 96)).astype(np.float32)
    if kind == "large rows":
        values[::10] *= 100
    if kind == "large channels":
        values[:, 3] *= 100
        kernel[3] /= 100
    if kind == "off centre":
        values[:, 5:9] += 100
    # Three roundings to 8 bits, of 0.3 to 0.7% of a row's or a channel's spread each.  Of a factor
    # of 100 between channels 10 are left.
    assert _error(values, kernel) < (0.06 if kind == "large channels" else 0.02)


def test_a_larger_output_than_any_in_calibration_is_not_clipped_at_once() -> None:
    random = np.random.default_rng(0)
    values, kernel = random.normal(size=(500, 64)), random.normal(size=(64, 96)).astype(np.float32)
    product = fit_product(kernel, np.zeros(96, np.float32), values.astype(np.float32))
    row = values[np.abs(values @ kernel).max(axis=1).argmax()]  # with the largest output
    others = random.normal(size=64) * 0.1
    for factor in (1.0, -1.0):
        given = (factor * row + others)[None]
        expected = given @ kernel
        found = _multiply(product, given)
        assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.03


def test_inputs_are_those_of_all_passes(tiny_albert: Any) -> None:
    model = tiny_albert(num_hidden_groups=2)
    rows = [{"input_ids": range(2, 2 + n), "token_type_ids": [0] * n} for n in (5, 9)]
    found = _collect_inputs(export_stages(model), model.config, rows)
    config = model.config
    for name, values in found.items():
        passes = config.passes_of_group(int(name.split("_")[1]))
        assert values.shape == (passes * 14, config.product_sizes()[name][0]), name
    ids = np.arange(2, 7, dtype=np.int32)[None]
    first = model.embed(ids, np.zeros_like(ids)).numpy()[0]
    np.testing.assert_allclose(found["layer_0_query_key_value"][:5], first, atol=1e-5)


def test_calibration_texts_must_hold_tokens(tiny_albert: Any) -> None:
    with pytest.raises(InputError, match="fewer than 8 ids"):
        fit_products(tiny_albert(), export_stages(tiny_albert()), calibration=["2 3"])
