"""Files in Android's own library, in tflite-runtime 2.14.0 and in CompiledModel, on the CPU."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from albert_edge import convert, load_keras
from rigs import gpu_delegate, tflite_runtime_2_14
from rigs.swiftshader import run_compiled

LENGTHS = (1, 3, 24, 128, 200)
# The rule of the early exit: patience, threshold, and the most layers.
RULES = ((99, 2.0, 99), (1, 2.0, 99), (99, 0.9, 99), (99, 2.0, 2))
SAME_ARITHMETIC = 1e-6  # other kernels sum in another order
SAME_WEIGHTS = 1e-5


@pytest.fixture(scope="module")
def embedded(built_once):
    """A function that converts the embedded model, which exits early."""

    @cache
    def make(target: str, quantize: str) -> Path:
        def build(path: Path) -> None:
            model = load_keras("default")
            convert(model, target=target, quantize=quantize, verified=False).save(path)

        return built_once(f"embedded_{target}_{quantize}.tflite", build)

    return make


def texts(length: int) -> list[dict[str, np.ndarray]]:
    """Random texts of a length, one for each of `RULES`."""
    drawn = np.random.default_rng(length)
    made = []
    for patience, threshold, most in RULES:
        ids = drawn.integers(5, 4000, (1, length), np.int32)
        made.append(
            {
                "input_ids": ids,
                "token_type_ids": (ids % 2).astype(np.int32),
                "patience": np.int32([patience]),
                "threshold": np.float32([threshold]),
                "max_layers": np.int32([most]),
            }
        )
    return made


@cache
def in_litert(path: Path, length: int) -> list[dict[str, np.ndarray]]:
    runner = Interpreter(str(path)).get_signature_runner()
    return [runner(**text) for text in texts(length)]


def errors(outputs, expected) -> float:
    """The root mean square of the logits' differences, over that of the expected logits."""
    ours, theirs = (np.stack([o["logits"] for o in each]) for each in (outputs, expected))
    return float(np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)))


def check(outputs, path: Path, floats: Path, length: int, *, most: float) -> None:
    """Compare with LiteRT: of floats the numbers, of integers what they differ from the floats."""
    expected = in_litert(path, length)
    assert len(outputs) == len(expected)
    layers = [int(o["layers_used"][0]) for o in expected]
    assert [int(o["layers_used"][0]) for o in outputs] == layers
    ours, theirs = (np.stack([o["logits"] for o in each]) for each in (outputs, expected))
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()
    if "int8" in path.name:
        right = in_litert(floats, length)
        assert errors(outputs, right) <= 2 * max(errors(expected, right), 1e-3)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=most)


def check_lengths(outputs, path: Path, floats: Path, *, most: float) -> None:
    """Compare the outputs of every length, by every rule."""
    for index, length in enumerate(LENGTHS):
        of_length = outputs[index * len(RULES) : (index + 1) * len(RULES)]
        check(of_length, path, floats, length, most=most)


@pytest.mark.parametrize("quantize", ["float32", "float16", "int8"])
def test_the_default_file_in_compiled_model_on_the_cpu(embedded, quantize):
    path, floats = embedded("cpu", quantize), embedded("cpu", "float32")
    every = [text for length in LENGTHS for text in texts(length)]
    result = run_compiled(path, every, "cpu")
    assert not result.error
    check_lengths(result.outputs, path, floats, most=SAME_ARITHMETIC)


@pytest.mark.parametrize("quantize", ["float32", "float16", "int8"])
def test_an_android_file_in_androids_library(embedded, quantize):
    gpu_delegate.ANDROID.require()
    path, floats = embedded("android", quantize), embedded("android", "float32")
    every = [text for length in LENGTHS for text in texts(length)]
    result = gpu_delegate.run(path, every)
    assert not result.error, result.log
    check_lengths(result.outputs, path, floats, most=SAME_WEIGHTS)


@pytest.mark.parametrize("quantize", ["float32", "float16", "int8"])
def test_an_android_file_with_xnnpack_as_a_delegate(embedded, quantize):
    gpu_delegate.ANDROID.require()
    path, floats = embedded("android", quantize), embedded("android", "float32")
    for length in (3, 128):
        result = gpu_delegate.run(path, texts(length), xnnpack=True)
        assert not result.error, result.log
        assert result.delegated > 30
        assert "WHILE" in result.left
        check(result.outputs, path, floats, length, most=SAME_ARITHMETIC)


def test_with_xnnpack_as_a_delegate_a_second_length_is_refused(embedded):
    # TFLite 2.16.1 takes the results of a WHILE that has run for dynamic. A new interpreter helps.
    gpu_delegate.ANDROID.require()
    texts_of_two = [texts(3)[0], texts(5)[0]]
    result = gpu_delegate.run(embedded("android", "float32"), texts_of_two, xnnpack=True)
    assert "AllocateTensors" in result.error
    assert "only supports static-sized tensors" in result.log


@pytest.mark.parametrize("quantize", ["float32", "float16", "int8"])
def test_an_android_file_in_the_oldest_runtime(embedded, quantize):
    tflite_runtime_2_14.RIG.require()
    path, floats = embedded("android", quantize), embedded("android", "float32")
    every = [text for length in LENGTHS for text in texts(length)]
    result = tflite_runtime_2_14.run(path, every)
    assert not result.error
    for index, length in enumerate(LENGTHS):
        outputs = result.outputs[index * len(RULES) : (index + 1) * len(RULES)]
        check(outputs, path, floats, length, most=SAME_WEIGHTS)


def test_the_default_int8_file_is_not_one_of_android(embedded):
    gpu_delegate.ANDROID.require()
    result = gpu_delegate.run(embedded("cpu", "int8"), texts(3))
    assert "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'" in result.log
