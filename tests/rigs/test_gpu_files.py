"""GPU files of every task and recipe, on both runtimes for GPUs, compared with the CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from albert_edge import convert
from albert_edge.runtime.compiled_model import with_float_weights
from albert_edge.tasks import TASKS
from rigs import gpu_delegate
from rigs.comparison import (
    LOOKUPS,
    PHONES,
    ROUNDING,
    Arrays,
    check_delegation,
    largest_error,
    make_inputs,
    run_on_cpu,
)
from rigs.gpu_delegate import MAKERS
from rigs.swiftshader import RIG as SWIFTSHADER
from rigs.swiftshader import run_compiled

RECIPES = ("float32", "float16", "int8")
ACTIVATIONS = ("gelu_new", "relu", "gelu")
# Large enough for weights to be quantized.
SHAPE = {
    "vocab_size": 300,
    "embedding_size": 32,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 384,
    "initializer_range": 0.2,
}


@pytest.fixture(scope="module")
def gpu_file(built_once, tiny_albert) -> Callable[[str, str], Path]:
    """A function that converts a small model of a task for GPUs by a recipe."""

    @cache
    def make(task: str, quantize: str) -> Path:
        def build(path: Path) -> None:
            activation = ACTIVATIONS[list(TASKS).index(task) % len(ACTIVATIONS)]
            model = tiny_albert(task, **SHAPE, hidden_act=activation)
            convert(model, target="gpu", quantize=quantize, verified=False).save(path)

        return built_once(f"gpu_{task}_{quantize}.tflite", build)

    return make


@pytest.fixture(scope="module")
def check(gpu_file) -> Callable[[str, str, list[Arrays]], None]:
    """A function that compares a GPU's outputs of a file with the CPU's."""

    @cache
    def expected(task: str, quantize: str) -> list[Arrays]:
        path = gpu_file(task, quantize)
        content = path.read_bytes()
        return run_on_cpu(
            with_float_weights(content) if quantize == "int8" else content, make_inputs(path)
        )

    def compare(task: str, quantize: str, outputs: list[Arrays]) -> None:
        if quantize == "float16":
            floats = expected(task, "float32")
            theirs = largest_error(expected(task, "float16"), floats)
            assert largest_error(outputs, floats) <= 2 * theirs
        else:
            # A GPU multiplies int8 weights as floats, and so is not to be off by more.
            assert largest_error(outputs, expected(task, quantize)) <= ROUNDING

    return compare


@pytest.mark.parametrize("maker", PHONES)
@pytest.mark.parametrize("quantize", RECIPES)
@pytest.mark.parametrize("task", TASKS)
def test_the_gpu_delegate(gpu_file, check, task, quantize, maker):
    gpu_delegate.ANDROID.require()
    gpu_delegate.OPENCL.require()
    path = gpu_file(task, quantize)
    result = gpu_delegate.run(path, make_inputs(path), maker=maker)
    check_delegation(result)
    check(task, quantize, result.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("maker", sorted(set(MAKERS) - set(PHONES)))
@pytest.mark.parametrize("quantize", RECIPES)
@pytest.mark.parametrize("task", TASKS)
def test_the_gpu_delegate_by_makers_of_desktops(gpu_file, check, task, quantize, maker):
    test_the_gpu_delegate(gpu_file, check, task, quantize, maker)


@pytest.mark.parametrize("quantize", RECIPES)
@pytest.mark.parametrize("task", TASKS)
def test_compiled_model(gpu_file, check, task, quantize):
    SWIFTSHADER.require()
    path = gpu_file(task, quantize)
    result = run_compiled(path, make_inputs(path), "gpu|cpu")
    assert not result.error, result.log
    assert result.on_gpu > 90
    assert LOOKUPS.issuperset(reason.split(":")[0] for reason in result.refused), result.refused
    check(task, quantize, result.outputs)
