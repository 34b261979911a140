"""Models in Kotlin: outputs as Python's, whatever the file, the runtime and the threads."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge import EarlyExit, convert, load_keras
from albert_edge.bundle.bundle import model_bytes, pack, read
from albert_edge.errors import InputError
from albert_edge.files import embedded_model
from albert_edge.modeling import Albert
from albert_edge.modeling.layers import assign, tensors
from albert_edge.runtime import Model, open_model
from bench_process import BenchError, BenchProcess
from rigs.comparison import PHONES

from .jvm import RUNTIMES, open_jvm

EMBEDDED = embedded_model() / "model.tflite"
LENGTHS = (3, 24, 24, 1, 128, 24, 200)  # longer and shorter ones, and the same again
RULES = (
    EarlyExit(patience=99, threshold=2.0),
    EarlyExit(patience=1, threshold=2.0),
    EarlyExit(patience=99, threshold=0.9),
    EarlyExit(patience=99, threshold=2.0, max_layers=2),
)
# Other kernels sum in another order; int8 kernels also round what they multiply.
ROUNDING = {"float32": 1e-5, "float16": 1e-5, "int8": 0.02}
UNROLLED = Path(__file__).parents[1] / "data" / "unrolled_for_cpus.tflite"


@pytest.fixture(scope="module")
def embedded(built_once) -> Callable[..., Path]:
    """A function that converts the embedded model."""

    @cache
    def make(target: str, quantize: str, **options: Any) -> Path:
        def build(path: Path) -> None:
            made = convert(
                load_keras("default"), target=target, quantize=quantize, verified=False, **options
            )
            made.save(path)

        name = "_".join(map(str, (target, quantize, *options.values())))
        return built_once(f"kotlin_{name}.tflite".replace(" ", ""), build)

    return make


@pytest.fixture(scope="module")
def jvms() -> Iterator[Callable[..., BenchProcess]]:
    """A function that starts a JVM with a runtime once."""
    started: dict[Any, BenchProcess] = {}

    def start(runtime: str, maker: str | None = None) -> BenchProcess:
        if (runtime, maker) not in started:
            started[runtime, maker] = open_jvm(runtime, maker=maker)
        return started[runtime, maker]

    yield start
    for jvm in started.values():
        jvm.close()


def text(length: int, vocabulary: int = 20_000) -> dict[str, list[int]]:
    drawn = np.random.default_rng(length)
    types = np.arange(length) >= length // 2
    return {
        "ids": drawn.integers(0, vocabulary, length).tolist(),
        "types": types.astype(int).tolist(),
    }


def check(
    jvm: BenchProcess, handle: int, model: Model, given: dict[str, Any], *, most: float, **more: Any
):
    """Compare the outputs with Python's."""
    rule = more.pop("rule", None)
    if rule is not None:
        more["earlyExit"] = {
            "patience": rule.patience,
            "threshold": rule.threshold,
            "maxLayers": rule.max_layers,
        }
    found = jvm.call("Models.run", handle=handle, **given, **more)
    expected = model.run(given["ids"], given["types"], early_exit=rule)
    used = expected.pop("layers_used", None)
    assert found["layersUsed"] == (None if used is None else int(used[0]))
    assert found["values"].keys() == expected.keys()
    for name, right in expected.items():
        values = np.asarray(found["values"][name], np.float32)
        assert values.shape == (right.size,)
        largest = max(1.0, float(np.abs(right).max()))
        assert np.abs(values - right.ravel()).max() <= most * largest, name


@pytest.mark.parametrize("quantize", ["float32", "float16", "int8"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_texts_of_any_length_and_early_exit(jvms, embedded, runtime, quantize):
    jvm, path = jvms(runtime), embedded("android", quantize)
    model, opened = open_model(path), jvm.call("Models.open", path=str(path), threads=2)
    assert opened["runtime"] == f"TensorFlow Lite {'2.16.1' if runtime == 'android' else '2.19.0'}"
    assert opened["difference"] is None
    most = ROUNDING[quantize]
    for length in LENGTHS:
        check(jvm, opened["handle"], model, text(length), most=most, rule=RULES[0])
    for rule in RULES if quantize != "int8" else ():
        for length in (5, 60):
            check(jvm, opened["handle"], model, text(length), most=most, rule=rule)
    check(jvm, opened["handle"], model, text(9), most=most)  # the file's own rule


def test_the_default_file_on_a_newer_runtime(jvms):
    jvm, model = jvms("desktop"), open_model(EMBEDDED)
    handle = jvm.call("Models.open", path=str(EMBEDDED))["handle"]
    for length in LENGTHS:
        check(jvm, handle, model, text(length), most=ROUNDING["int8"], rule=RULES[0])


def test_the_default_file_on_androids_runtime_names_the_command(jvms):
    with pytest.raises(BenchError) as caught:
        jvms("android").call("Models.open", path=str(EMBEDDED))
    assert caught.value.kind == "FILE"
    assert "TensorFlow Lite 2.16.1 cannot load" in str(caught.value)
    assert "FULLY_CONNECTED" in str(caught.value)
    assert str(caught.value).endswith("albert-edge convert CHECKPOINT --target android.")


TASKS = (
    "feature-extraction",
    "token-classification",
    "question-answering",
    "summarization",
    "fill-mask",
    "sentence-order",
    "pretraining",
    "classification",
)


@pytest.fixture(scope="module")
def tiny(built_once, tiny_albert) -> Callable[..., Path]:
    """A function that converts a tiny model of a task."""

    @cache
    def make(task: str, **options: Any) -> Path:
        def build(path: Path) -> None:
            convert(tiny_albert(task), verified=False, **options).save(path)

        name = "_".join(map(str, (task, *options.values())))
        return built_once(f"kotlin_tiny_{name}.tflite".replace(" ", ""), build)

    return make


@pytest.mark.parametrize("lengths", [8, (8, 16, 32)], ids=["one length", "three lengths"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_fixed_lengths_are_padded_and_cut(jvms, tiny, runtime, task, lengths):
    path = tiny(task, target="gpu", quantize="float32", seq_len=lengths)
    jvm, model = jvms(runtime), open_model(path)
    handle = jvm.call("Models.open", path=str(path))["handle"]
    for length in (1, 8, 3) if lengths == 8 else (32, 9, 16, 2, 8, 31):
        check(jvm, handle, model, text(length, 60), most=1e-5)


@pytest.mark.parametrize("task", ["fill-mask", "token-classification", "feature-extraction"])
def test_some_rows(jvms, tiny, task):
    jvm, path = jvms("android"), tiny(task, target="android", quantize="float32")
    handle = jvm.call("Models.open", path=str(path))["handle"]
    given = text(7, 60)
    whole = jvm.call("Models.run", handle=handle, **given)["values"]
    some = jvm.call("Models.run", handle=handle, rows=[5, 0, 5], **given)["values"]
    for name, values in whole.items():
        expected = np.reshape(values, (1 if name == "pooler_output" else 7, -1))
        if name != "pooler_output":
            expected = expected[[5, 0, 5]]
        np.testing.assert_array_equal(some[name], expected.ravel())
    with pytest.raises(BenchError, match=r"rows must be in \[0, 7\); there is 7"):
        jvm.call("Models.run", handle=handle, rows=[7], **given)


# What is refused.


def test_ids_out_of_range_are_refused_with_pythons_words(jvms, tiny):
    path = tiny("classification", target="android", quantize="float32")
    jvm, model = jvms("android"), open_model(path)
    handle = jvm.call("Models.open", path=str(path))["handle"]
    for ids, types in (
        ([60], [0]),
        ([-1], [0]),
        ([3, 2**31 - 1], [0, 0]),
        ([3], [2]),
        ([3], [-1]),
        ([3, 4], [0]),
        ([3] * 41, [0] * 41),
    ):
        with pytest.raises(InputError) as expected:
            model.run(ids, types)
        with pytest.raises(BenchError) as caught:
            jvm.call("Models.run", handle=handle, ids=ids, types=types)
        assert caught.value.kind == "INPUT"
        assert str(caught.value) == str(expected.value)
    with pytest.raises(BenchError, match="input_ids must have at least one token"):
        jvm.call("Models.run", handle=handle, ids=[])


def test_early_exit_of_a_file_without_it(jvms, tiny):
    path = tiny("classification", target="android", quantize="float32")
    jvm = jvms("android")
    handle = jvm.call("Models.open", path=str(path))["handle"]
    rule = {"patience": 1, "threshold": 2.0, "maxLayers": None}
    with pytest.raises(InputError) as expected:
        open_model(path).require_early_exit()
    with pytest.raises(BenchError) as caught:
        jvm.call("Models.run", handle=handle, ids=[1], earlyExit=rule)
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("value", [0, -1])
def test_options_out_of_range(jvms, value):
    with pytest.raises(BenchError, match=f"threads must be .* at least 1, not {value}"):
        jvms("android").call("Models.options", threads=value)
    rule = {"patience": value, "threshold": 2.0, "maxLayers": None}
    handle = jvms("android").call("Models.openFile", path=str(EMBEDDED))
    assert handle >= 0
    with pytest.raises(BenchError, match=f"patience must be .* at least 1, not {value}"):
        jvms("android").call("Models.rule", **rule)


def test_a_file_for_a_host_that_runs_its_passes(jvms, tiny):
    path = tiny("classification", layout="split", quantize="float32")
    with pytest.raises(BenchError, match=r"its layout is split.*--target android\.$") as caught:
        jvms("android").call("Models.open", path=str(path))
    assert caught.value.kind == "FILE"


def test_a_file_for_other_libraries(jvms, tiny_albert, tmp_path):
    path = tmp_path / "m.tflite"
    made = convert(tiny_albert("classification"), target="mediapipe", quantize="float32")
    made.save(path)
    message = r"made with --target mediapipe.*--target android\.$"
    with pytest.raises(BenchError, match=message) as caught:
        jvms("android").call("Models.open", path=str(path))
    assert caught.value.kind == "FILE"


def test_weights_that_give_no_numbers(jvms, tiny_albert, tmp_path):
    shared = tiny_albert("classification")  # by all tests of this process, so not to be changed
    model = Albert(shared.config, task="classification")
    broken = np.full_like(tensors(shared)["classifier/kernel"], np.nan)
    assign(model, {**tensors(shared), "classifier/kernel": broken})
    path = tmp_path / "nan.tflite"
    convert(model, target="android", quantize="float32", verified=False).save(path)
    handle = jvms("android").call("Models.open", path=str(path))["handle"]
    with pytest.raises(BenchError, match="returns NaN or infinity in logits") as caught:
        jvms("android").call("Models.run", handle=handle, ids=[1, 2])
    assert caught.value.kind == "FILE"


def test_a_graph_of_another_task(jvms, tiny, tmp_path):
    path = tiny("classification", target="android", quantize="float32")
    wrong = dataclasses.replace(read(path), task="question-answering")
    other = tmp_path / "other.tflite"
    other.write_bytes(pack(model_bytes(path), wrong))
    handle = jvms("android").call("Models.open", path=str(other))["handle"]
    with pytest.raises(BenchError, match="contradicts its task 'question-answering'"):
        jvms("android").call("Models.run", handle=handle, ids=[1, 2])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_whose_runtime_failed_says_so_until_it_is_opened_again(
    jvms, tiny, tmp_path, runtime
):
    # Its manifest promises more tokens than its table has, so that the runtime refuses one.
    path = tiny("classification", target="android", quantize="float32")
    bundle, wrong = read(path), tmp_path / "larger.tflite"
    config = dataclasses.replace(bundle.config, vocab_size=bundle.config.vocab_size + 1)
    wrong.write_bytes(pack(model_bytes(path), dataclasses.replace(bundle, config=config)))
    jvm = jvms(runtime)
    handle = jvm.call("Models.open", path=str(wrong))["handle"]
    right = jvm.call("Models.run", handle=handle, ids=[1, 2])
    with pytest.raises(BenchError, match=r"^TensorFlow Lite .* failed on 2 tokens: ") as first:
        jvm.call("Models.run", handle=handle, ids=[1, config.vocab_size - 1])
    for _ in range(2):
        with pytest.raises(BenchError) as later:
            jvm.call("Models.run", handle=handle, ids=[1, 2])
        assert later.value.kind == first.value.kind == "DEVICE"
        assert str(later.value) == (
            f"this model of {wrong} cannot be used since an inference failed; close it and open it "
            f"again. It was: {first.value}"
        )
    jvm.call("Models.close", handle=handle)
    with pytest.raises(BenchError, match="is closed; open it again"):
        jvm.call("Models.run", handle=handle, ids=[1, 2])
    again = jvm.call("Models.open", path=str(wrong))["handle"]
    assert jvm.call("Models.run", handle=again, ids=[1, 2]) == right


def test_a_file_that_is_cut_while_it_is_open(jvms, embedded, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(embedded("android", "float32").read_bytes())
    handle = jvms("android").call("Models.open", path=str(path))["handle"]
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(BenchError, match="was changed while it was open; load it again"):
        jvms("android").call("Models.run", handle=handle, ids=[1, 2])


def test_without_a_runtime():
    with (
        open_jvm("none") as jvm,
        pytest.raises(
            BenchError, match="there is no TensorFlow Lite runtime in this app"
        ) as caught,
    ):
        jvm.call("Models.open", path=str(EMBEDDED))
    assert caught.value.kind == "DEVICE"


# Threads.


@pytest.mark.parametrize("quantize", ["float32", "int8"])
def test_many_threads_get_the_outputs_of_one(jvms, embedded, quantize):
    jvm = jvms("android")
    handle = jvm.call("Models.open", path=str(embedded("android", quantize)))["handle"]
    inputs = [text(length) for length in (3, 24, 7, 24, 40)]
    assert jvm.call("Models.runAtOnce", handle=handle, inputs=inputs, threads=8, times=20) == 0


def test_closing_while_others_run(jvms, embedded):
    jvm = jvms("android")
    path = embedded("android", "float32")
    handle = jvm.call("Models.open", path=str(path))["handle"]
    late = jvm.call("Models.closeWhileRunning", handle=handle, threads=4, **text(12))
    assert late == [f"AlbertEdgeException: this model of {path} is closed; open it again."]
    jvm.call("Models.close", handle=handle)  # again
    with pytest.raises(BenchError) as caught:
        jvm.call("Models.run", handle=handle, ids=[1])
    assert caught.value.kind == "INPUT"


def test_an_interrupt_closes_nothing(jvms, embedded):
    jvm = jvms("android")
    handle = jvm.call("Models.open", path=str(embedded("android", "float32")))["handle"]
    expected = jvm.call("Models.run", handle=handle, **text(9))["values"]
    for _ in range(2):
        found = jvm.call("Models.runInterrupted", handle=handle, **text(9))
        assert found == {"values": expected, "isInterrupted": True}
    assert jvm.call("Models.run", handle=handle, **text(9))["values"] == expected


def test_a_closed_file_is_not_run(jvms, embedded):
    jvm = jvms("android")
    file = jvm.call("Models.openFile", path=str(embedded("android", "float32")))
    jvm.call("Models.close", handle=file)
    with pytest.raises(BenchError, match="is closed; open it again to run it"):
        jvm.call("Models.open", file=file)


# A GPU.


@pytest.mark.parametrize("quantize", ["float32", "float16"])
@pytest.mark.parametrize("maker", PHONES)
def test_a_gpu_gives_the_outputs_of_the_cpu(jvms, embedded, maker, quantize):
    jvm, path = jvms("android", maker), embedded("gpu", quantize, seq_len=(32, 128))
    opened = jvm.call("Models.open", path=str(path), accelerator="GPU")
    assert 0 < opened["difference"] <= {"float32": 1e-5, "float16": 2e-5}[quantize]
    model = open_model(path)
    for length in (5, 128, 32, 77):
        check(jvm, opened["handle"], model, text(length), most=2e-5)
    jvm.call("Models.close", handle=opened["handle"])
    with pytest.raises(BenchError, match="is closed"):
        jvm.call("Models.run", handle=opened["handle"], ids=[1])


def test_int8_weights_and_the_drivers_precision_on_a_gpu(jvms, embedded):
    jvm = jvms("android", "mali")
    path = embedded("gpu", "int8")
    for options in ({}, {"precision": "DEFAULT"}):
        opened = jvm.call("Models.open", path=str(path), accelerator="GPU", **options)
        assert 0 < opened["difference"] < 0.05
        check(jvm, opened["handle"], open_model(path), text(60), most=0.05)


def test_a_gpu_by_many_threads(jvms, embedded):
    jvm = jvms("android", "adreno")
    path = embedded("gpu", "float32", seq_len=(32, 128))
    handle = jvm.call("Models.open", path=str(path), accelerator="GPU")["handle"]
    inputs = [text(length) for length in (3, 24, 40)]
    assert jvm.call("Models.runAtOnce", handle=handle, inputs=inputs, threads=4, times=5) == 0
    late = jvm.call("Models.closeWhileRunning", handle=handle, threads=3, **text(12))
    assert late == [f"AlbertEdgeException: this model of {path} is closed; open it again."]


def test_a_file_that_a_gpu_computes_wrong_is_refused(jvms, embedded, tmp_path):
    # The GPU does not round what int8 weights are multiplied with: 1% off, as a wrong graph may be.
    jvm, path = jvms("android", "mali"), tmp_path / "claims_floats.tflite"
    whole = embedded("gpu", "int8")
    path.write_bytes(pack(model_bytes(whole), dataclasses.replace(read(whole), quantize="float32")))
    for _ in range(2):
        with pytest.raises(BenchError) as caught:
            jvm.call("Models.open", path=str(path), accelerator="GPU")
        assert caught.value.kind == "DEVICE"
        assert re.fullmatch(
            f"{path} is computed wrong by this device's GPU: an output is off by 0.01 of its "
            "largest value, and at most 1e-05 is allowed. Convert the checkpoint again: "
            "albert-edge convert CHECKPOINT --target gpu. Or use Accelerator.CPU.",
            str(caught.value),
        )
    handle = jvm.call("Models.open", path=str(path))["handle"]
    assert jvm.call("Models.run", handle=handle, **text(9))["values"]


def test_a_file_that_the_delegate_refuses(jvms):
    with pytest.raises(BenchError, match="this device's GPU cannot run") as caught:
        jvms("android", "mali").call("Models.open", path=str(UNROLLED), accelerator="GPU")
    assert caught.value.kind == "DEVICE"
    assert str(caught.value).endswith("--target gpu. Or use Accelerator.CPU.")


def test_files_for_cpus_name_the_command_for_gpus(jvms, embedded, tiny):
    jvm = jvms("android")
    for path, form in (
        (embedded("android", "float32"), "its layout is loop"),
        (tiny("classification", layout="unrolled", quantize="float32"), "inputs of any length"),
    ):
        with pytest.raises(BenchError, match=form) as caught:
            jvm.call("Models.open", path=str(path), accelerator="GPU")
        assert caught.value.kind == "FILE"
        assert str(caught.value).endswith("albert-edge convert CHECKPOINT --target gpu.")


def test_a_gpu_without_its_dependency(jvms, embedded):
    with pytest.raises(BenchError, match=r"there is no GPU delegate.*litert-gpu") as caught:
        jvms("desktop").call("Models.open", path=str(embedded("gpu", "float32")), accelerator="GPU")
    assert caught.value.kind == "DEVICE"


def test_a_phone_without_opencl(jvms, embedded):
    with pytest.raises(BenchError, match="It needs OpenCL, which this device lacks") as caught:
        jvms("android", "none").call(
            "Models.open", path=str(embedded("gpu", "float32")), accelerator="GPU"
        )
    assert caught.value.kind == "DEVICE"


def test_a_gpu_file_on_the_cpu(jvms, embedded):
    jvm, path = jvms("android"), embedded("gpu", "float32", seq_len=(32, 128))
    handle = jvm.call("Models.open", path=str(path))["handle"]
    for length in (5, 128, 32, 77):
        check(jvm, handle, open_model(path), text(length), most=1e-5)
