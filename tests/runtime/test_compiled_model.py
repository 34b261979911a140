"""A file on a GPU: the CPU's outputs, what of it the GPU runs, and one clear error otherwise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import kept
from albert_edge.bundle.bundle import model_bytes, pack, read
from albert_edge.bundle.graph_check import count_operators
from albert_edge.conversion import convert
from albert_edge.errors import ConfigError, DeviceError, FidelityError, InputError
from albert_edge.runtime import open_model
from albert_edge.runtime.compiled_model import (
    _probe,
    check_gpu,
    difference_limit,
    largest_difference,
    with_float_weights,
)
from albert_edge.tflite.graph import builtin_code, parse, schema
from albert_edge.tflite.graph import pack as pack_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="passes on a descriptor")
IDS, TYPES = [2, 9, 11, 30, 41, 7, 3], [0, 0, 0, 0, 1, 1, 1]


def _error(got: dict[str, Any], want: dict[str, Any]) -> float:
    return max(
        float(np.abs(got[name] - right).max() / np.abs(right).max()) for name, right in want.items()
    )


# Rounding of sums in another order, and of int8 the CPU's: its inputs are rounded to 8 bits.
@pytest.mark.parametrize(
    ("task", "quantize", "accelerator", "most"),
    [
        ("classification", "float32", "gpu", 1e-5),
        ("question-answering", "float32", "gpu:default", 1e-5),  # SwiftShader has no float16
        ("feature-extraction", "float16", "gpu:float32", 1e-5),
        ("fill-mask", "int8", "gpu", 0.05),
    ],
)
def test_the_outputs_are_the_cpu_s(
    software_gpu: None,
    tiny_gpu: Callable[..., bytes],
    task: str,
    quantize: str,
    accelerator: str,
    most: float,
) -> None:
    blob = tiny_gpu(task, quantize=quantize)
    gpu, cpu = open_model(blob, accelerator=accelerator), open_model(blob)
    assert cpu.acceleration is None
    for ids, types in ((IDS, TYPES), (IDS[:1], None), ((IDS * 2)[:12], None)):
        got, want = gpu.run(ids, types), cpu.run(ids, types)
        assert {k: (v.shape, v.dtype) for k, v in got.items()} == {
            k: (v.shape, v.dtype) for k, v in want.items()
        }
        assert _error(got, want) <= most
    share = gpu.acceleration
    assert share is not None
    assert share.accelerator == ("gpu:float32" if accelerator == "gpu" else accelerator)
    assert "SwiftShader" in share.device
    assert share.is_software
    # Against float arithmetic on the same weights, int8 is no less exact.
    assert share.difference is not None
    assert share.difference <= 1e-5 <= share.limit
    operators, types = count_operators(model_bytes(blob), where="it")
    assert share.operators == operators
    assert 0 < operators - share.operators_accelerated <= len(types) < operators / 4
    assert {"GATHER"} <= set(share.on_cpu) <= {"GATHER", "CAST", "DEQUANTIZE", "RESHAPE"}


def test_the_reference_keeps_the_table_that_lookups_share_with_a_product(
    tiny_albert: Callable[..., Any],
) -> None:
    model, key = tiny_albert("fill-mask", vocab_size=128), "logits"
    files = [convert(model, target="gpu", quantize=q, seq_len=12).blob for q in ("float32", "int8")]
    ids = np.arange(12, dtype=np.int32)[None]
    inputs = {"input_ids": ids, "token_type_ids": 0 * ids, "attention_mask": 0 * ids + 1}
    floats, same = (
        Interpreter(model_content=content).get_signature_runner()(**inputs)
        for content in (files[0], with_float_weights(files[1]))
    )
    # int8 weights are off by 0.4% of their largest each.
    assert largest_difference({key: same[key]}, {key: floats[key]}) < 0.1


def test_each_length_has_its_signature(software_gpu: None, tiny_gpu: Callable[..., bytes]) -> None:
    blob = tiny_gpu(seq_len=(6, 12))
    gpu, cpu, single = open_model(blob, accelerator="gpu"), open_model(blob), tiny_gpu()
    assert gpu.max_tokens == 12
    for ids in (IDS[:3], IDS[:6], IDS, IDS[:2]):
        assert _error(gpu.run(ids), cpu.run(ids)) <= 1e-5
    one = open_model(single, accelerator="gpu", check=False).acceleration
    assert one is not None
    assert gpu.acceleration is not None
    assert gpu.acceleration.operators == 2 * one.operators
    with pytest.raises(InputError, match="13 tokens are too many"):
        gpu.run([2] * 13)


def test_a_graph_that_gpus_compute_wrong_is_refused(
    software_gpu: None, tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "wrong.tflite"
    path.write_bytes(tiny_tflite(layout="unrolled", seq_len=12))
    message = r"wrong\.tflite is computed wrong by SwiftShader.*at most 1e-05 .*--target gpu"
    with pytest.raises(FidelityError, match=message):
        open_model(path, accelerator="gpu")
    # It is indeed, and only without the check does it run.
    gpu = open_model(path, accelerator="gpu", check=False)
    assert _error(gpu.run(IDS), open_model(path).run(IDS)) > 0.01
    assert gpu.acceleration is not None
    assert gpu.acceleration.difference is None


@pytest.mark.parametrize(
    ("options", "form"),
    [
        ({}, "its layout is loop"),
        ({"seq_len": 12}, "its layout is loop"),
        ({"early_exit": True}, "its layout is loop"),
        ({"layout": "unrolled"}, "it takes inputs of any length"),
        ({"layout": "split", "seq_len": 12}, "its layout is split"),
    ],
)
def test_a_file_of_another_form_is_refused(
    tiny_tflite: Callable[..., bytes], options: dict[str, Any], form: str
) -> None:
    with pytest.raises(DeviceError, match=rf"cannot run on a GPU: {form}.*--target gpu"):
        open_model(tiny_tflite(**options), accelerator="gpu")


def test_an_operator_that_the_gpu_refuses_is_named(
    software_gpu: None, tiny_gpu: Callable[..., bytes]
) -> None:
    """Another operator than a lookup on the CPU is no run on a GPU."""
    blob = tiny_gpu()
    model = parse(model_bytes(blob))
    (code,) = [
        index
        for index, one in enumerate(model.operatorCodes)
        if one.builtinCode == schema.BuiltinOperator.RSQRT
    ]
    model.operatorCodes[code].builtinCode = schema.BuiltinOperator.ZEROS_LIKE
    model.operatorCodes[code].deprecatedBuiltinCode = schema.BuiltinOperator.ZEROS_LIKE
    changed = pack(pack_model(model), read(blob))
    with pytest.raises(DeviceError, match=r"would run on the CPU.*ZEROS_LIKE.*--target gpu"):
        open_model(changed, accelerator="gpu", check=False)


def test_accelerators_have_names(tiny_gpu: Callable[..., bytes]) -> None:
    with pytest.raises(ConfigError, match="unknown accelerator 'tpu'; choose from cpu, gpu"):
        open_model(tiny_gpu(), accelerator="tpu")


def test_a_gpu_that_is_there(software_gpu: None) -> None:
    found = check_gpu()
    assert "SwiftShader" in found["device"]
    assert found["is_software"]


def test_no_driver(no_gpu: None, tiny_gpu: Callable[..., bytes]) -> None:
    message = r"LiteRT finds no GPU \(.*\)\. .*libvulkan\.so\.1.*--accelerator cpu"
    with pytest.raises(DeviceError, match=message):
        open_model(tiny_gpu(), accelerator="gpu")
    with pytest.raises(DeviceError, match=message):
        check_gpu()
    kept.call("run", "default", "text", code=0)  # the CPU does not mind


def test_no_loader(
    no_gpu: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_gpu: Callable[..., bytes],
) -> None:
    """A loader that cannot be loaded stands before any other."""
    (tmp_path / "libvulkan.so.1").write_text("no library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"LiteRT finds no GPU \(.*libvulkan\.so\.1"):
        open_model(tiny_gpu(), accelerator="gpu")


CRASH = "void *vk_icdGetInstanceProcAddr(void *i, const char *n) { __builtin_trap(); }"


def test_a_driver_that_ends_the_process_ends_a_child(
    software_gpu: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_gpu: Callable[..., bytes],
) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, to make a driver that crashes")
    (tmp_path / "crash.c").write_text(CRASH)
    library = tmp_path / "libcrash.so"
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "crash.c")]
    subprocess.run(command, check=True)
    icd = {"library_path": str(library), "api_version": "1.0.5"}
    path = tmp_path / "icd.json"
    path.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": icd}))
    monkeypatch.setenv("VK_ICD_FILENAMES", str(path))
    monkeypatch.setenv("VK_DRIVER_FILES", str(path))
    for trial in (lambda: open_model(tiny_gpu(), accelerator="gpu"), check_gpu):
        with pytest.raises(DeviceError, match=r"ended the process \(killed by SIG.*Raspberry Pi"):
            trial()
    assert _probe.cache_info().misses == 1  # tried once


def test_a_gpu_that_hangs_is_given_up(software_gpu: None, tiny_gpu: Callable[..., bytes]) -> None:
    with pytest.raises(DeviceError, match=r"took over 0\.01 s"):
        open_model(tiny_gpu(), accelerator="gpu", time_limit_s=0.01)


def test_a_runtime_without_compiled_model(
    tmp_path: Path, tiny_gpu: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another runtime comes first on the path of child processes: it only has an interpreter."""
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text("class Interpreter: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    _probe.cache_clear()
    with pytest.raises(DeviceError, match=r"CompiledModel of ai-edge-litert 2\.1\.6 or newer"):
        open_model(tiny_gpu(), accelerator="gpu")
    _probe.cache_clear()


def test_nothing_of_it_is_imported_for_the_cpu(tmp_path: Path) -> None:
    code = (
        "import sys; from albert_edge.runtime import open_model; open_model('default').run([2, 3]);"
        "print([name for name in sys.modules if 'compiled_model' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_largest_difference() -> None:
    right = {"a": np.array([4.0, -8.0]), "b": np.array([1.0])}
    assert largest_difference(right, right) == 0
    assert largest_difference({**right, "a": np.array([4.0, -7.0])}, right) == 1 / 8
    assert largest_difference({**right, "b": np.array([1.5])}, right) == 1 / 2
    for wrong in ([np.nan, 1.0], [np.inf, 1.0], [4.0]):
        assert largest_difference({**right, "a": np.array(wrong)}, right) == float("inf")
    assert largest_difference({"a": right["a"]}, right) == float("inf")


def test_the_limit_follows_from_weights_and_arithmetic() -> None:
    limits = {"float32": 1e-5, "float16": 2e-5, "int8": 0.02}
    for quantize, limit in limits.items():
        assert difference_limit(quantize, "gpu:float32") == limit
        assert difference_limit(quantize, "gpu:default") == 0.05


def test_lookups_are_those_that_compute_nothing(tiny_gpu: Callable[..., bytes]) -> None:
    model = parse(model_bytes(tiny_gpu(quantize="int8")))
    names = [
        schema_name
        for operator in model.subgraphs[0].operators
        for schema_name, value in vars(schema.BuiltinOperator).items()
        if value == builtin_code(model, operator)
    ]
    operators, lookups = count_operators(model_bytes(tiny_gpu(quantize="int8")), where="it")
    assert operators == len(names)
    # Attention's reshapes are no lookups.
    assert names.count("GATHER") <= len(lookups) < names.count("GATHER") + names.count("RESHAPE")
