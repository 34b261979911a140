"""Recipes, and parts that differ from them."""

from __future__ import annotations

import pytest

from albert_edge.errors import ConversionError
from albert_edge.quantization.recipes import PARTS, RECIPES, get_recipe, override_precision


def test_a_part_is_kept_and_the_rest_stays():
    kept = override_precision(get_recipe("int8"), ["layer.ffn_output=float32"])
    assert kept.precision_of("layer.ffn_output").weights == "float32"
    others = [part for part in PARTS if part != "layer.ffn_output"]
    assert [kept.precision_of(part) for part in others] == [
        get_recipe("int8").precision_of(part) for part in others
    ]
    assert kept.describe()["layer.ffn_output"] == "float32 weights, float32"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("layer", [part for part in PARTS if part.startswith("layer.")]),
        ("layer.ffn", ["layer.ffn_intermediate", "layer.ffn_output"]),
        ("head.pooler", ["head.pooler"]),
    ],
)
def test_what_several_begin_with_names_them_all(name, parts):
    assert list(override_precision(get_recipe("int8-full"), [f"{name}=int16"]).overrides) == parts


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        (
            "int8",
            "layer.ffn_outputs=float32",
            r"did you mean layer\.ffn_output\?.*choose from embed",
        ),
        ("int8", "=float32", "no part ''"),
        ("int8", "layer", "expected PART=TYPE, a type of float32, float16"),
        ("int8", "layer=int9", "cannot keep 'layer=int9'"),
        ("int8", "layer=int16", "int8 computes in floats; give layer=dynamic"),
    ],
)
def test_what_cannot_be_kept_is_refused(name, entry, message):
    with pytest.raises(ConversionError, match=message):
        override_precision(get_recipe(name), [entry])


def test_every_recipe_describes_itself():
    for entry in RECIPES.values():
        described = entry.describe()
        assert described.keys() == {"weights", "activations", "embedding"}
        assert all(described.values())
