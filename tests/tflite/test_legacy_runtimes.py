"""Older runtimes: each is found by its name, and refuses recipes that it does not support."""

from __future__ import annotations

import pytest

from albert_edge.errors import ConversionError
from albert_edge.quantization.recipes import RECIPES
from albert_edge.tflite.graph import OPERATOR_NAMES, TYPE_NAMES
from albert_edge.tflite.legacy_runtimes import RUNTIMES, check_recipe, get_runtime


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_is_found_by_its_name(name: str) -> None:
    runtime = get_runtime(name)
    assert runtime.name == name
    assert set(runtime.recipes) <= set(RECIPES)
    # Names that the schema lacks would never match an operator or a tensor.
    assert set(runtime.versions) <= set(OPERATOR_NAMES.values())
    assert set(runtime.lacks) <= set(TYPE_NAMES.values())
    assert all(operators <= set(runtime.versions) for operators in runtime.lacks.values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_that_it_supports(recipe: str) -> None:
    if recipe in ("float32", "float16", "int8"):
        check_recipe("tflite-runtime-2.14", recipe)
        return
    expected = f"does not support the operators that '{recipe}' needs; choose --quantize float32, "
    with pytest.raises(ConversionError, match=expected):
        check_recipe("tflite-runtime-2.14", recipe)


def test_an_unknown_runtime() -> None:
    for find in (get_runtime, lambda name: check_recipe(name, "int8")):
        with pytest.raises(ConversionError, match="unknown runtime 'tf-1'; choose from tflite-run"):
            find("tf-1")


def test_versions_by_hand() -> None:
    # As register.cc of TensorFlow 2.14 lists them.
    versions = get_runtime("tflite-runtime-2.14").versions
    assert (versions["FULLY_CONNECTED"], versions["GELU"], versions["WHILE"]) == (10, 2, 1)
    assert "STABLEHLO_COMPOSITE" not in versions
