"""The products are operators that the chip maps, and the host graph computes all the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from albert_edge.conversion import convert
from albert_edge.quantization.products import fit_product
from albert_edge.runtime import open_interpreter
from albert_edge.tflite.edgetpu_graph import CODES, ScaledProduct, layer_kernels, product_graph
from albert_edge.tflite.edgetpu_rules import check_edgetpu
from albert_edge.tflite.graph import pack, parse


def _product(outputs: int = 24, inputs: int = 12, seed: int = 0) -> ScaledProduct:
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(inputs, outputs)).astype(np.float32)
    return fit_product(kernel, np.ones(outputs, np.float32), random.normal(size=(200, inputs)))


def test_a_product_is_one_convolution_that_the_chip_maps() -> None:
    figures = check_edgetpu(parse(pack(product_graph(_product(), 16))))
    assert (figures["operators"], figures["mapped"], figures["compiles"]) == (1, 1, True)
    assert figures["kinds"] == [{"name": "CONV_2D", "count": 1, "runs_on": "Edge TPU"}]
    # int8 weights, and the int32 bias of each of the channels.
    assert figures["weights"]["bytes"] == 24 * 12 + 4 * 24
    assert figures["transfers"] == {"calls": 1, "input_bytes": 16 * 12, "output_bytes": 16 * 24}


def test_a_product_computes_what_its_scales_say() -> None:
    product = _product()
    interpreter = open_interpreter(pack(product_graph(product, 16)), threads=1)
    interpreter.allocate_tensors()
    codes = np.random.default_rng(1).integers(-CODES, CODES + 1, (1, 16, 1, 12), np.int8)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], codes)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, :, 0]
    sums = codes[0, :, 0].astype(np.int64) @ product.weight.T.astype(np.int64) + product.chip_bias
    expected = np.clip(sums * product.weight_scales.astype(np.float64), -128, 127)
    # Kernels round to the nearest; one multiplies in fixed point, which may round the other way.
    np.testing.assert_allclose(found, expected, atol=0.51)


@pytest.mark.parametrize("shape", [{}, {"inner_group_num": 2}, {"num_hidden_groups": 2}])
def test_every_layer_has_products_and_steps(tiny_albert: Any, shape: dict[str, int]) -> None:
    made = convert(tiny_albert(**shape), target="edgetpu", seq_len=8, verified=False)
    layers = 2 if shape else 1
    assert len(made.products[8]) == 4 * layers
    host = parse(made.blob)
    keys = {one.signatureKey.decode() for one in host.signatureDefs}
    assert len(keys) == 2 + 5 * layers
    assert keys == {"embed", "head", *made.products[8], *_outputs(layers)}
    names = {one.builtinCode for one in host.operatorCodes}
    assert 3 not in names  # CONV_2D


def _outputs(layers: int) -> list[str]:
    return [f"layer_{n}_layer_output" for n in range(layers)] if layers > 1 else ["layer_output"]


def test_kernels_are_those_of_the_checkpoint(tiny_albert: Any) -> None:
    kernels = layer_kernels(tiny_albert(), 0, 0)
    shapes = {name: kernel.shape for name, (kernel, _) in kernels.items()}
    assert shapes == tiny_albert().config.product_sizes()
    query = np.asarray(tiny_albert().groups[0][0].query.kernel)
    # 1/sqrt(D), with D = 8, is a part of the product.
    np.testing.assert_allclose(kernels["query_key_value"][0][:, :32], query * 8**-0.5, rtol=1e-6)
