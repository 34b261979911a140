"""Time a product of each recipe on this machine, to say which of them is worth it here.

Which kernels XNNPACK has depends on the processor: int8 is five times as fast as float32 with AMX,
and hardly faster on an x86 processor with AVX2 only.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from albert_edge.errors import DeviceError
from albert_edge.quantization.quantize import quantize_stage
from albert_edge.quantization.recipes import get_recipe
from albert_edge.runtime.interpreter import open_interpreter, runtime_name
from albert_edge.tflite.graph import ModelBuilder, StageModel, pack, schema

__all__ = ["time_products"]

_TOKENS, _WIDTH, _INNER = 64, 512, 2048
_RUNS = 15  # of each recipe; the fastest counts


def time_products(recipes: tuple[str, ...] = ("float32", "int8", "int4")) -> dict[str, float]:
    """Time the product of 64 tokens with weights [2048, 512], in turns on one thread.

    Args:
        recipes: Recipes of `RECIPES` that are not calibrated.

    Returns:
        The milliseconds of each.

    Raises:
        DeviceError: No TFLite runtime is installed, or it does not run a recipe.
    """
    stage = make_product()
    opened = {name: _open(stage, name) for name in recipes}
    taken: dict[str, list[float]] = {name: [] for name in recipes}
    for _ in range(_RUNS):
        for name, interpreter in opened.items():
            start = time.perf_counter()
            interpreter.invoke()
            taken[name].append((time.perf_counter() - start) * 1e3)
    return {name: min(times) for name, times in taken.items()}


def make_product() -> StageModel:
    """Return a layer of one product, [T, C] → [T, K]."""
    builder = ModelBuilder()
    graph = builder.graph("main")
    random = np.random.default_rng(0)

    def floats(*shape: int) -> Any:
        return schema.TensorT(shape=list(shape), type=schema.TensorType.FLOAT32, hasRank=True)

    weights = random.standard_normal((_INNER, _WIDTH), np.float32).tobytes()
    values = graph.input("hidden_states", floats(_TOKENS, _WIDTH))
    kernel = graph.constant(floats(_INNER, _WIDTH), "ffn/intermediate/MatMul", weights)
    product = graph.tensor(floats(_TOKENS, _INNER), "product")
    options = schema.FullyConnectedOptionsT()
    graph.operator(schema.BuiltinOperator.FULLY_CONNECTED, [values, kernel], [product], options)
    builder.sign("serving_default", graph, {"hidden_states": product})
    return StageModel(builder.build(), "layer_0")


def _open(stage: StageModel, recipe: str) -> Any:
    # Not by GPTQ, which needs texts: the speed is the same.
    quantized = quantize_stage(stage, replace(get_recipe(recipe), compensated=False))
    interpreter = open_interpreter(pack(quantized.model), threads=1)
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:
        raise DeviceError(f"{runtime_name()} does not run {recipe}: {error}") from error
    values = np.random.default_rng(1).standard_normal((_TOKENS, _WIDTH), np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    return interpreter
