"""GPU files of every task, recipe and configuration, on both runtimes for GPUs.

The CPU's interpreter on the same file is what they are compared with, in float arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from albert_edge import convert, load_keras
from albert_edge.tasks import TASKS
from rigs import gpu_delegate
from rigs.gpu_delegate import MAKERS
from rigs.graphs import with_float_weights
from rigs.swiftshader import RIG as SWIFTSHADER
from rigs.swiftshader import run_compiled

PHONES = ("adreno", "mali", "powervr", "intel")
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
# Other kernels sum up in another order: of the largest output, over two layers.
ROUNDING = 1e-5
# float16 arithmetic is not used here: int8 weights are multiplied as floats, as on the CPU.
INT8 = 1e-3
# A lookup of a row, and what makes floats of it, or of constants, which is done once.
LOOKUPS = {"GATHER", "CAST", "DEQUANTIZE"}
PARITY = sorted((Path(__file__).parents[1] / "data/parity").iterdir())

Arrays = dict[str, np.ndarray]


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


def inputs(path: Path) -> list[Arrays]:
    """Random inputs of a file's length: full, half padding, and of two segments."""
    details = Interpreter(str(path)).get_signature_runner().get_input_details()
    length = int(details["input_ids"]["shape"][1])
    drawn, at = np.random.default_rng(length), np.arange(length)[None]
    kinds = (
        (at < length, at < 0),
        (at < length // 2, at < 0),
        (at < length * 3 // 4, (at >= length // 3) & (at < length * 3 // 4)),
    )
    return [
        {
            "input_ids": drawn.integers(0, 60, (1, length), np.int32),
            "attention_mask": mask.astype(np.int32),
            "token_type_ids": types.astype(np.int32),
        }
        for mask, types in kinds
    ]


def on_cpu(content: bytes, every: Iterable[Arrays]) -> list[Arrays]:
    runner = Interpreter(model_content=content).get_signature_runner()
    return [runner(**one) for one in every]


def largest_error(outputs: list[Arrays], expected: list[Arrays]) -> float:
    """The largest difference of an output, over its largest value; of all inputs."""
    assert len(outputs) == len(expected)
    worst = []
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, right in theirs.items():
            assert ours[name].shape == right.shape
            assert np.isfinite(ours[name]).all()
            worst.append(float(np.abs(ours[name] - right).max() / np.abs(right).max()))
    return max(worst)


@pytest.fixture(scope="module")
def check(gpu_file) -> Callable[[str, str, list[Arrays]], None]:
    """A function that compares a GPU's outputs of a file with the CPU's."""

    @cache
    def expected(task: str, quantize: str) -> list[Arrays]:
        path = gpu_file(task, quantize)
        content = path.read_bytes()
        return on_cpu(with_float_weights(content) if quantize == "int8" else content, inputs(path))

    def compare(task: str, quantize: str, outputs: list[Arrays]) -> None:
        if quantize == "float16":
            floats = expected(task, "float32")
            theirs = largest_error(expected(task, "float16"), floats)
            assert largest_error(outputs, floats) <= 2 * theirs
        else:
            limit = ROUNDING if quantize == "float32" else INT8
            assert largest_error(outputs, expected(task, quantize)) <= limit

    return compare


def check_delegation(result: Any) -> None:
    """All but the lookups must have run on the GPU, in one part."""
    assert not result.error, result.log
    assert LOOKUPS.issuperset(result.left), result.left
    assert result.left.count("GATHER") == 4
    assert result.delegated == result.nodes - len(result.left)
    assert result.partitions == 1
    assert result.launched > 20


@pytest.mark.parametrize("maker", PHONES)
@pytest.mark.parametrize("quantize", RECIPES)
@pytest.mark.parametrize("task", TASKS)
def test_the_gpu_delegate(gpu_file, check, task, quantize, maker):
    gpu_delegate.ANDROID.require()
    gpu_delegate.OPENCL.require()
    path = gpu_file(task, quantize)
    result = gpu_delegate.run(path, inputs(path), maker=maker)
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
    result = run_compiled(path, inputs(path), "gpu|cpu")
    assert not result.error, result.log
    assert result.on_gpu > 90
    assert LOOKUPS.issuperset(reason.split(":")[0] for reason in result.refused), result.refused
    check(task, quantize, result.outputs)


@pytest.mark.parametrize("source", PARITY, ids=lambda path: path.name)
def test_every_configuration(built_once, source):
    # Groups, layers in a group, activations, heads with and without a pooler, kinds of segments.
    for rig in (gpu_delegate.ANDROID, gpu_delegate.OPENCL, SWIFTSHADER):
        rig.require()
    path = built_once(
        f"gpu_{source.name}.tflite",
        lambda file: convert(
            load_keras(source), target="gpu", quantize="float32", verified=False
        ).save(file),
    )
    every = inputs(path)
    kinds = load_keras(source).config.type_vocab_size
    for one in every:
        one["token_type_ids"] %= kinds
        one["input_ids"] %= load_keras(source).config.vocab_size
    expected = on_cpu(path.read_bytes(), every)
    maker = PHONES[PARITY.index(source) % len(PHONES)]
    delegate = gpu_delegate.run(path, every, maker=maker)
    check_delegation(delegate)
    assert largest_error(delegate.outputs, expected) <= ROUNDING
    compiled = run_compiled(path, every, "gpu|cpu")
    assert not compiled.error, compiled.log
    assert compiled.on_cpu <= 8
    assert largest_error(compiled.outputs, expected) <= ROUNDING


@pytest.mark.slow  # twelve passes of 768, twice, by one core
def test_a_real_albert_in_float32(data_folder, tmp_path):
    for rig in (gpu_delegate.ANDROID, gpu_delegate.OPENCL, SWIFTSHADER):
        rig.require()
    path = tmp_path / "plbert.tflite"
    model = load_keras(data_folder / "plbert_kokoro")
    convert(model, target="gpu", quantize="float32", verified=False).save(path)
    every = inputs(path)[1:2]
    expected = on_cpu(path.read_bytes(), every)
    delegate = gpu_delegate.run(path, every, maker="mali", timeout_s=1800)
    check_delegation(delegate)
    assert largest_error(delegate.outputs, expected) <= ROUNDING
    compiled = run_compiled(path, every, "gpu|cpu", timeout_s=1800)
    assert not compiled.error, compiled.log
    assert largest_error(compiled.outputs, expected) <= ROUNDING
