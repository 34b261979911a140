"""Fit int8 products to calibration texts, for a chip that computes in eight bits only.

All passes of a layer share its products, so each is fitted to what it reads in all of them.  The
host scales the rows of its input one by one, so an outlier in one token costs the others nothing;
outliers in a channel are met as in SmoothQuant (Xiao et al. 2022, arXiv:2211.10438, sec. 4).  Ours
differs in that the host applies the factors, so that no layer norm need stand before the product;
that they are bounded, see `_smoothing`; and that the output is eight bits too, each of its channels
with a range of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.config import PRODUCTS, AlbertConfig
from albert_edge.modeling import Albert
from albert_edge.quantization.calibration import Row, StageInterpreter, calibration_rows
from albert_edge.tflite.edgetpu_graph import CODES, ScaledProduct, layer_kernels
from albert_edge.tflite.graph import Stages, builtin_code, schema

__all__ = ["fit_products"]

Float = npt.NDArray[np.float32]
_MOST_ROWS = 8192  # of a product's input: enough for ranges; 100 MB of ALBERT-base's widest
# How much larger a channel's range is than its largest calibrated output: a third of a bit, where
# ranges that clip for the least calibrated error are worse on texts of another kind.
_HEADROOM = 1.3
_TINY = np.float32(1e-9)


def fit_products(
    model: Albert, stages: Stages, *, calibration: Iterable[str] | None = None
) -> dict[str, ScaledProduct]:
    """Quantize the products of all layers.

    Args:
        model: A Keras ALBERT.
        stages: Its float32 stages, for any length.
        calibration: Texts like those to come; a dozen built-in sentences if left out.

    Returns:
        The products by the names of `AlbertConfig.product_sizes`.

    Raises:
        InputError: There are too few texts, or none.
    """
    config = model.config
    rows = calibration_rows(calibration, config, model.tokenizer_files)
    inputs = _collect_inputs(stages, config, rows)
    products = {}
    for group in range(config.num_hidden_groups):
        for index in range(config.inner_group_num):
            prefix = config.product_prefix(group, index)
            for name, (kernel, bias) in layer_kernels(model, group, index).items():
                products[prefix + name] = fit_product(kernel, bias, inputs[prefix + name])
    return products


def fit_product(kernel: Float, bias: Float, inputs: Float) -> ScaledProduct:
    """Quantize a product to int8.

    Args:
        kernel: float32 [C, K].
        bias: float32 [K].
        inputs: float32 [rows, C], what it is multiplied with.

    Returns:
        The product.
    """
    offset = inputs.mean(axis=0)  # [C]
    factors = _smoothing(inputs - offset)  # [C]
    weights = kernel / factors[:, None]
    scales = np.maximum(np.abs(weights).max(axis=0), _TINY) / CODES  # [K]
    codes = np.round(weights / scales)
    values = (inputs - offset) * factors
    row_scales = np.maximum(np.abs(values).max(axis=1, keepdims=True), _TINY)
    outputs = (np.round(values / row_scales * CODES) @ codes) * (scales / CODES)  # [rows, K]
    centre = (outputs.min(axis=0) + outputs.max(axis=0)) / 2
    ranges = np.maximum(np.abs(outputs - centre).max(axis=0), _TINY) * _HEADROOM
    weight_scales = (scales / ranges).astype(np.float32)
    # The chip's sums are int32 multiples of the scale of the values times that of the weights.
    units = weight_scales.astype(np.float64) / CODES
    chip_bias = np.round(-centre / ranges / units).astype(np.int32)
    return ScaledProduct(
        weight=codes.T.astype(np.int8),
        weight_scales=weight_scales,
        chip_bias=chip_bias,
        input_offset=offset.astype(np.float32),
        input_factor=factors.astype(np.float32),
        output_factor=ranges.astype(np.float32),
        output_offset=(-chip_bias * units * ranges).astype(np.float32),
        bias=(bias + offset @ kernel).astype(np.float32),
    )


def _smoothing(values: Float) -> Float:
    """Return the factors of the input's channels, float32 [C], in (0, 1].

    Only channels that exceed most others are scaled, and down: what a channel that hardly moved in
    calibration would gain, it may cost all others in a text where it does move.
    """
    largest = np.abs(values).max(axis=0)
    typical = max(float(np.median(largest)), float(_TINY))
    factors: Float = np.sqrt(typical / np.maximum(largest, typical)).astype(np.float32)
    return factors


def _collect_inputs(stages: Stages, config: AlbertConfig, rows: Sequence[Row]) -> dict[str, Float]:
    """Run the float32 stages, and return what each product reads, float32 [rows, C]."""
    embed = StageInterpreter(stages.embed)
    layers = [StageInterpreter(one, preserve_all_tensors=True) for one in stages.layers]
    read = [_product_inputs(config, group, one) for group, one in enumerate(stages.layers)]
    found: dict[str, list[Float]] = {name: [] for names in read for name in names}
    skipped = dict.fromkeys(found, 0)
    tokens = sum(len(row["input_ids"]) for row in rows) * config.num_hidden_layers
    step = -(-tokens // _MOST_ROWS)
    # Sorted, so that the runtime plans its memory once for each length.
    for row in sorted(rows, key=lambda row: len(row["input_ids"])):
        state = embed.run({name: np.asarray([ids], np.int32) for name, ids in row.items()})
        for index in range(config.num_hidden_layers):
            group = config.group_of_layer(index)
            state = layers[group].run(state)
            for name, tensor in read[group].items():
                values = layers[group].tensor(tensor)
                values = values.reshape(-1, values.shape[-1])  # [T, C]
                found[name].append(values[-skipped[name] % step :: step])
                skipped[name] += len(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def _product_inputs(config: AlbertConfig, group: int, stage: Any) -> dict[str, int]:
    """Return the tensors that the products of a layer's stage read, by the products' names."""
    names = [
        config.product_prefix(group, index) + name
        for index in range(config.inner_group_num)
        for name in PRODUCTS
    ]
    multiply = schema.BuiltinOperator.FULLY_CONNECTED
    operators = [op for op in stage.graph.operators if builtin_code(stage.model, op) == multiply]
    tensors = [int(operator.inputs[0]) for operator in operators]  # in the order of the layer
    return dict(zip(names, tensors, strict=True))
