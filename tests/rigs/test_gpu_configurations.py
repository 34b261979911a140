"""GPU files of models of every configuration, and of several lengths, on both runtimes for GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from albert_edge import convert, load_keras
from albert_edge.runtime.compiled_model import with_float_weights
from rigs import gpu_delegate
from rigs.comparison import (
    PHONES,
    ROUNDING,
    check_delegation,
    largest_error,
    make_inputs,
    run_on_cpu,
)
from rigs.swiftshader import RIG as SWIFTSHADER
from rigs.swiftshader import run_compiled

PARITY = sorted((Path(__file__).parents[1] / "data/parity").iterdir())


@pytest.mark.parametrize("source", PARITY, ids=lambda path: path.name)
def test_every_configuration(tmp_path, source):
    # Groups, layers in a group, activations, heads with and without a pooler, kinds of segments.
    for rig in (gpu_delegate.ANDROID, gpu_delegate.OPENCL, SWIFTSHADER):
        rig.require()
    model, path = load_keras(source), tmp_path / "gpu.tflite"
    convert(model, target="gpu", quantize="float32", verified=False).save(path)
    config = model.config
    every = make_inputs(path, vocab_size=config.vocab_size, kinds=config.type_vocab_size)
    expected = run_on_cpu(path.read_bytes(), every)
    maker = PHONES[PARITY.index(source) % len(PHONES)]
    delegate = gpu_delegate.run(path, every, maker=maker)
    check_delegation(delegate)
    assert largest_error(delegate.outputs, expected) <= ROUNDING
    compiled = run_compiled(path, every, "gpu|cpu")
    assert not compiled.error, compiled.log
    assert compiled.on_cpu == 4
    assert largest_error(compiled.outputs, expected) <= ROUNDING


@pytest.mark.parametrize(("quantize", "maker"), [("float16", "adreno"), ("int8", "mali")])
def test_every_length_of_a_file(tmp_path, tiny_albert, quantize, maker):
    for rig in (gpu_delegate.ANDROID, gpu_delegate.OPENCL, SWIFTSHADER):
        rig.require()
    path, lengths = tmp_path / "gpu.tflite", (7, 39)
    shape = {"embedding_size": 32, "hidden_size": 64, "intermediate_size": 128}
    model = tiny_albert("classification", **shape, num_hidden_layers=2)
    convert(model, target="gpu", quantize=quantize, seq_len=lengths, verified=False).save(path)
    content = path.read_bytes()
    reference = with_float_weights(content) if quantize == "int8" else content
    for length in lengths:
        signature = f"serving_{length}"
        every = make_inputs(path, signature=signature)
        assert every[0]["input_ids"].shape == (1, length)
        expected = run_on_cpu(reference, every, signature=signature)
        delegate = gpu_delegate.run(path, every, maker=maker, signature=signature)
        check_delegation(delegate, lengths=len(lengths))
        assert largest_error(delegate.outputs, expected) <= ROUNDING
        compiled = run_compiled(path, every, "gpu|cpu", signature=signature)
        assert not compiled.error, compiled.log
        assert largest_error(compiled.outputs, expected) <= ROUNDING


@pytest.mark.slow  # twelve passes of 768, twice, by one core
def test_a_real_albert_in_float32(data_folder, tmp_path):
    for rig in (gpu_delegate.ANDROID, gpu_delegate.OPENCL, SWIFTSHADER):
        rig.require()
    path = tmp_path / "plbert.tflite"
    model = load_keras(data_folder / "plbert_kokoro")
    convert(model, target="gpu", quantize="float32", verified=False).save(path)
    every = make_inputs(path)[1:2]
    expected = run_on_cpu(path.read_bytes(), every)
    delegate = gpu_delegate.run(path, every, maker="mali", timeout_s=1800)
    check_delegation(delegate)
    assert largest_error(delegate.outputs, expected) <= ROUNDING
    compiled = run_compiled(path, every, "gpu|cpu", timeout_s=1800)
    assert not compiled.error, compiled.log
    assert largest_error(compiled.outputs, expected) <= ROUNDING
