"""Older runtimes that a file can be written for, and the operators that each of them supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from albert_edge.errors import ConversionError

__all__ = ["RUNTIMES", "check_recipe", "get_runtime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A runtime that is no longer developed.

    Attributes:
        name: The value of `--compat`.
        recipes: The recipes whose files it runs, in every layout.
        versions: Operator name → the newest version that it supports; operators that no file of
            ours needs are not listed.
        lacks: Type of tensor → operators that it does not support in that type, whatever their
            version.
    """

    name: str
    recipes: tuple[str, ...]
    versions: Mapping[str, int]
    lacks: Mapping[str, frozenset[str]]


# Measured with models of one operator at each version from 1 on, in the package tflite-runtime
# 2.14.0; `register.cc` of TensorFlow 2.14 lists the same.  Newest version → operators.
_TFLITE_RUNTIME_2_14 = {
    10: "FULLY_CONNECTED",
    8: "STRIDED_SLICE",
    7: "MUL",
    6: "GATHER SLICE TRANSPOSE",
    5: "ABS ADD CAST DEQUANTIZE SUB",
    4: "BATCH_MATMUL CONCATENATION EQUAL FILL GATHER_ND MAXIMUM MINIMUM PACK PAD SELECT SPLIT "
    "UNPACK",
    3: "ARG_MAX BROADCAST_TO LESS LOGISTIC MEAN QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 SOFTMAX "
    "TANH",
    2: "DIV EXP GELU RANGE RSQRT SELECT_V2 SPLIT_V SQUARED_DIFFERENCE SQUEEZE SUM",
    1: "EXPAND_DIMS LOG LOGICAL_AND NEG POW RANK RESHAPE SHAPE SQRT SQUARE WHILE",
}
_VERSIONS = {
    name: version for version, names in _TFLITE_RUNTIME_2_14.items() for name in names.split()
}
# Measured by running such an operator alone; the others agree with LiteRT 2.3 to one code.
_LACKS = {
    "INT16": "DIV GELU LOG NEG POW RSQRT SQRT SQUARE SQUARED_DIFFERENCE SUM",
    "INT8": "DIV LOG NEG POW SQRT SQUARE",
    "INT4": " ".join(_VERSIONS.keys() - {"FULLY_CONNECTED"}),
}

RUNTIMES: dict[str, Runtime] = {
    entry.name: entry
    for entry in (
        Runtime(
            name="tflite-runtime-2.14",
            recipes=("float32", "float16", "int8"),
            versions=_VERSIONS,
            lacks={kind: frozenset(names.split()) for kind, names in _LACKS.items()},
        ),
    )
}


def get_runtime(name: str) -> Runtime:
    """Return the runtime called `name`.

    Raises:
        ConversionError: There is no such runtime.
    """
    if name not in RUNTIMES:
        raise ConversionError(f"unknown runtime {name!r}; choose from {', '.join(RUNTIMES)}.")
    return RUNTIMES[name]


def check_recipe(name: str, recipe: str) -> None:
    """Check that the runtime called `name` supports the operators of a recipe.

    Raises:
        ConversionError: It does not, or there is no such runtime.
    """
    recipes = get_runtime(name).recipes
    if recipe not in recipes:
        raise ConversionError(
            f"{name} does not support the operators that {recipe!r} needs; choose --quantize "
            f"{', '.join(recipes)}, or leave --compat out and run the file with ai-edge-litert."
        )
