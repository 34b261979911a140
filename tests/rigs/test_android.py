"""Files in Android's own library, in tflite-runtime 2.14.0 and in CompiledModel, on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs import gpu_delegate, tflite_runtime_2_14
from rigs.early_exit import RULES, SAME_ARITHMETIC, SAME_WEIGHTS, check, texts
from rigs.swiftshader import run_compiled

LENGTHS = (1, 3, 24, 128, 200)


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
