"""GPU files in float16 arithmetic, which phones use by default, on the GPU delegate."""

from __future__ import annotations

from pathlib import Path

import pytest

from albert_edge import convert, load_keras
from rigs import gpu_delegate
from rigs.comparison import check_delegation, largest_error, make_inputs, run_on_cpu

pytestmark = pytest.mark.slow
# 11 bits a number: 0.7% was measured in twelve passes of a real ALBERT of 768.
FLOAT16 = 0.05


@pytest.fixture(scope="module", autouse=True)
def rigs():
    if "avx512_fp16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no float16 arithmetic (avx512_fp16)")
    for rig in (gpu_delegate.ANDROID, gpu_delegate.OPENCL, gpu_delegate.FLOAT16):
        rig.require()


def compare(path: Path, maker: str) -> None:
    every = make_inputs(path)
    expected = run_on_cpu(path.read_bytes(), every)
    halves = gpu_delegate.run(path, every, maker=maker, precision_loss=True)
    check_delegation(halves)
    # It must be finite, and it must be another arithmetic than float32's.
    assert 1e-4 < largest_error(halves.outputs, expected) < FLOAT16


@pytest.mark.parametrize(
    ("act", "maker"),
    [
        ("gelu_new", "adreno"),
        ("gelu_new", "mali"),
        ("gelu", "adreno"),  # this OpenCL lacks the erfc of float16 that Mali's kernel calls
        ("relu", "mali"),
    ],
)
def test_arguments_of_any_size_stay_numbers(tmp_path, tiny_albert, act, maker):
    # Adreno's tanh is no number in float16 beyond 5.5.
    path = tmp_path / "gpu.tflite"
    model = tiny_albert("classification", hidden_size=64, intermediate_size=128, hidden_act=act)
    convert(model, target="gpu", quantize="float16", seq_len=40, verified=False).save(path)
    compare(path, maker)


@pytest.mark.parametrize("maker", ["adreno", "mali"])
def test_a_real_albert(data_folder, tmp_path, maker):
    path = tmp_path / "plbert.tflite"
    model = load_keras(data_folder / "plbert_kokoro")
    convert(model, target="gpu", quantize="float16", verified=False).save(path)
    compare(path, maker)
