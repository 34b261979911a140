"""A product of each recipe is timed in the recipe's own types, without TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from albert_edge.errors import ConversionError
from albert_edge.quantization.quantize import quantize_stage
from albert_edge.quantization.recipes import get_recipe
from albert_edge.quantization.speed import make_product, time_products
from albert_edge.tflite.graph import type_name


def test_every_recipe_takes_its_time() -> None:
    times = time_products(("float32", "int8"))
    assert set(times) == {"float32", "int8"}
    assert min(times.values()) > 0


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_a_product_has_the_types_of_its_recipe(recipe: str) -> None:
    graph = quantize_stage(make_product(), get_recipe(recipe)).graph
    (product,) = graph.operators
    assert type_name(graph.tensors[product.inputs[1]]) == recipe


def test_an_unknown_recipe() -> None:
    with pytest.raises(ConversionError, match="unknown recipe 'int3'"):
        time_products(("int3",))


def test_without_tensorflow() -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from albert_edge.quantization.speed import time_products; time_products()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
