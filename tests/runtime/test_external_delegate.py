"""A product is computed by the CPU as its weights say, and refuses what it does not take."""

from __future__ import annotations

import numpy as np
import pytest

from albert_edge.errors import BundleError, InputError
from albert_edge.runtime.external_delegate import open_product
from albert_edge.tflite.graph import ModelBuilder, pack, schema

TOKENS, INPUTS, OUTPUTS = 6, 8, 5


def quantization(scales, zero_point):
    scales = np.float32(scales)
    return schema.QuantizationParametersT(
        scale=list(scales), zeroPoint=[zero_point] * len(scales), quantizedDimension=0
    )


def product_model(weights, *, scales, kind=schema.TensorType.INT8) -> bytes:
    """Return a CONV_2D of 1 x 1: input scale 0.05 and zero point 3, output 0.1 and -4."""
    outputs, inputs = weights.shape
    builder = ModelBuilder()
    graph = builder.graph("main")

    def like(shape, kind, quantization):
        return schema.TensorT(shape=list(shape), type=kind, quantization=quantization)

    x = graph.input("x", like((1, TOKENS, 1, inputs), kind, quantization([0.05], 3)))
    shape = (outputs, 1, 1, inputs)
    held = like(shape, schema.TensorType.INT8, quantization(scales, 0))
    weight = graph.constant(held, "w", weights.tobytes())
    biased = np.float32(0.05) * np.float32(scales)
    held = like((outputs,), schema.TensorType.INT32, quantization(biased, 0))
    bias = graph.constant(held, "b", np.zeros(outputs, np.int32).tobytes())
    y = graph.tensor(like((1, TOKENS, 1, outputs), kind, quantization([0.1], -4)), "y")
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    graph.operator(schema.BuiltinOperator.CONV_2D, [x, weight, bias], [y], options)
    builder.sign("serving_default", graph, {"y": y})
    return pack(builder.build())


@pytest.fixture
def weights():
    return np.random.default_rng(1).integers(-127, 128, (OUTPUTS, INPUTS), np.int8)


@pytest.fixture
def path(tmp_path, weights):
    path = tmp_path / "product.tflite"
    path.write_bytes(product_model(weights, scales=[0.01] * OUTPUTS))
    return path


@pytest.mark.parametrize("delegated", [True, False])
def test_the_cpu_computes_what_the_weights_say(path, weights, delegated):
    product = open_product(path, delegated=delegated)
    assert product.input_shape == (1, TOKENS, 1, INPUTS)
    assert product.output_shape == (1, TOKENS, 1, OUTPUTS)
    assert product.input_quantization == (pytest.approx(0.05), 3)
    assert product.output_quantization == (pytest.approx(0.1), -4)
    values = np.random.default_rng(2).integers(-128, 128, product.input_shape, np.int8)
    made = product.run(values)
    rows = (values[0, :, 0].astype(np.int32) - 3) @ weights.T.astype(np.int32)
    right = np.clip(np.rint(rows * (0.05 * 0.01 / 0.1)) - 4, -128, 127)
    # One step: kernels round halves in their own ways.
    assert np.abs(made[0, :, 0] - right).max() <= 1
    assert product.calls == 1
    assert product.seconds > 0


def test_it_refuses_other_shapes_and_types_and_calls_after_its_end(path):
    product = open_product(path)
    with pytest.raises(InputError, match=r"takes int8 \[1, 6, 1, 8\], not int8 \[1, 5, 1, 8\]"):
        product.run(np.zeros((1, 5, 1, 8), np.int8))
    with pytest.raises(InputError, match="not float32"):
        product.run(np.zeros(product.input_shape, np.float32))
    product.close()
    with pytest.raises(InputError, match="was closed"):
        product.run(np.zeros(product.input_shape, np.int8))


def test_a_missing_file_and_one_that_is_no_product_are_refused(tmp_path, weights):
    with pytest.raises(BundleError, match=r"there is no file .*missing\.tflite"):
        open_product(tmp_path / "missing.tflite")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(BundleError, match="cannot load"):
        open_product(broken)
