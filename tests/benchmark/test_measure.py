"""`albert_edge.benchmark.measure`, with real models in real processes."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.benchmark.devices.device import Local
from albert_edge.benchmark.measure import Measurement, aggregate_rounds, interleave, measure
from albert_edge.errors import BundleError, ConfigError, DeviceError, InputError
from albert_edge.runtime import open_model
from benchmark.samples import BRIEF

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports resident memory")


def test_a_measurement_describes_the_file(measurement: Measurement, tiny_file: Path) -> None:
    assert measurement.size_bytes == tiny_file.stat().st_size
    assert (measurement.task, measurement.quantize) == ("classification", "float32")
    assert (measurement.layout, measurement.threads) == ("loop", 1)


def test_the_worker_returns_the_outputs_of_this_process(
    measurement: Measurement, tiny_file: Path
) -> None:
    here = open_model(tiny_file).run(measurement.input_ids)
    assert measurement.outputs[0].keys() == here.keys() == {"logits"}
    np.testing.assert_array_equal(measurement.outputs[0]["logits"], here["logits"])


def test_every_sample_is_kept_and_summed_up(measurement: Measurement) -> None:
    samples = sorted(measurement.samples_ns)
    assert len(samples) == len(measurement.cpu_samples_ns) == 30
    assert samples[0] > 0
    assert measurement.min_ms == samples[0] / 1e6
    assert measurement.latency_ms == (samples[14] + samples[15]) / 2e6
    assert measurement.percentile_ms(90) == samples[26] / 1e6  # 27 of 30 do not exceed it
    assert measurement.percentile_ms(99) == samples[29] / 1e6
    assert min(measurement.import_ms, measurement.load_ms, measurement.first_ms) > 0


def test_timing_goes_on_for_the_least_time(tiny_file: Path) -> None:
    measured = measure(tiny_file, seq_len=4, runs=1, warmup=0, min_time_s=0.2)
    assert len(measured.samples_ns) > 1


@linux
def test_memory_adds_up(measurement: Measurement) -> None:
    parts = measurement.model_bytes("anonymous") + measurement.model_bytes("file")
    assert measurement.model_bytes() == parts
    assert 0 < measurement.model_bytes("rss", "loaded") <= measurement.model_bytes()
    assert measurement.memory["warm"]["pss_bytes"] > 0
    assert measurement.peak_rss_bytes > measurement.empty_rss_bytes > 10e6  # CPython and NumPy


@linux
def test_memory_shows_that_a_loop_packs_a_shared_layer_once(
    tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    shape = {"hidden_size": 128, "intermediate_size": 1024, "num_hidden_layers": 12}
    measured = {}
    for layout in ("loop", "unrolled"):
        path = tmp_path / f"{layout}.tflite"
        path.write_bytes(tiny_tflite(layout=layout, **shape))
        measured[layout] = measure(path, seq_len=8, **BRIEF).model_bytes("anonymous")
    layer_bytes = 4 * (4 * 128 * 128 + 2 * 128 * 1024)
    # The unrolled file packs it 11 times more; 8 leaves room for all else.
    assert measured["unrolled"] - measured["loop"] > 8 * layer_bytes


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "missing.tflite"), (b"\xff\xd8\xff\xe0JFIF" * 9, "missing.tflite")],
    ids=["missing", "a JPEG"],
)
def test_a_bad_file_is_the_error_that_it_is_here(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "missing.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=message) as there:
        measure(path, **BRIEF)
    with pytest.raises(BundleError) as here:
        open_model(path)
    assert str(there.value) == str(here.value)


def test_too_many_tokens_are_an_input_error(tiny_file: Path) -> None:
    with pytest.raises(InputError, match="41 tokens are too many"):
        measure(tiny_file, seq_len=41, **BRIEF)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"seq_len": 0}, "seq_len must be at least 1"),
        ({"runs": 0}, "runs must be at least 1"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"min_time_s": -0.5}, "min_time_s must be at least 0"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str, tiny_file: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        measure(tiny_file, **options)


def test_a_process_that_takes_too_long_is_stopped(tiny_file: Path) -> None:
    with pytest.raises(DeviceError, match=r"took over 0\.01 s"):
        measure(tiny_file, timeout_s=0.01)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A function that makes an engine whose `open_model` has the given body."""

    def make(body: str) -> str:
        source = (
            f"import albert_edge.runtime as ours\ndef open_model(path, *, threads):\n    {body}\n"
        )
        (tmp_path / "engine_under_test.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return "engine_under_test:open_model"

    return make


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("raise RuntimeError('out of ' + 'luck')", "(?s)exit code 1.*RuntimeError: out of luck"),
        ("raise SystemExit(7)", "exit code 7; it wrote nothing"),
    ],
)
def test_the_error_of_a_dead_process_contains_its_exit(
    body: str, message: str, engine: Callable[[str], str], tiny_file: Path
) -> None:
    with pytest.raises(DeviceError, match=message):
        measure(tiny_file, engine=engine(body))


def test_an_engine_that_prints_does_no_harm(
    engine: Callable[[str], str], tiny_file: Path, measurement: Measurement
) -> None:
    chatty = engine("print('{}', flush=True); return ours.open_model(path, threads=threads)")
    measured = measure(tiny_file, engine=chatty, seq_len=16, **BRIEF)
    np.testing.assert_array_equal(measured.outputs[0]["logits"], measurement.outputs[0]["logits"])


REPLACED = "the file was replaced while it was measured"


@pytest.mark.parametrize("when", ["before it is opened", "after it was opened"])
def test_a_file_that_is_replaced_during_a_measurement_is_an_error(
    when: str, engine: Callable[[str], str], tiny_tflite: Callable[..., bytes], tmp_path: Path
) -> None:
    path, other = tmp_path / "model.tflite", tmp_path / "other.tflite"
    path.write_bytes(tiny_tflite())
    other.write_bytes(tiny_tflite(quantize="int8"))
    replacing, opening = f"import os; os.rename({str(other)!r}, path)", "ours.open_model(path)"
    body = {
        "before it is opened": f"{replacing}; return {opening}",
        "after it was opened": f"model = {opening}; {replacing}; return model",
    }
    with pytest.raises(BundleError, match=REPLACED):
        measure(path, engine=engine(body[when]), seq_len=4, **BRIEF)


def test_rounds_of_two_files_are_not_aggregated(measurement: Measurement) -> None:
    with pytest.raises(BundleError, match=REPLACED):
        aggregate_rounds([measurement, dataclasses.replace(measurement, sha256="0" * 64)])


def test_a_file_with_another_hash_than_planned_is_an_error(tiny_file: Path) -> None:
    digest = hashlib.sha256(tiny_file.read_bytes()).hexdigest()
    assert measure(tiny_file, seq_len=4, sha256=digest, **BRIEF).sha256 == digest
    with pytest.raises(BundleError, match=REPLACED):
        measure(tiny_file, seq_len=4, sha256="0" * 64, **BRIEF)


def test_measurements_are_interleaved_and_aggregated(tiny_file: Path) -> None:
    order = []

    def take(length: int) -> Measurement:
        order.append(length)
        return measure(tiny_file, seq_len=length, runs=3, warmup=0, min_time_s=0)

    done: list[None] = []
    taken = interleave(
        [lambda: take(4), lambda: take(8)], rounds=2, on_done=lambda: done.append(None)
    )
    assert order == [4, 8, 4, 8]
    assert len(done) == 4
    assert [len(one.input_ids) for one in taken] == [4, 8]
    assert [len(one.samples_ns) for one in taken] == [6, 6]


def test_aggregation_keeps_samples_and_takes_medians(measurement: Measurement) -> None:
    rounds = [
        dataclasses.replace(
            measurement,
            samples_ns=(n,),
            load_ms=n,
            other_cores_busy=n / 10,
            memory={stage: {"rss_bytes": 10 * n} for stage in measurement.memory},
            energy={"joules": n, "source": "rapl"},
            conditions={"before": {"temperature_c": n}, "after": {"temperature_c": n + 1}},
        )
        for n in (5, 1, 3)
    ]
    aggregated = aggregate_rounds(rounds)
    assert (aggregated.samples_ns, aggregated.load_ms) == ((5, 1, 3), 3.0)
    assert aggregated.memory["warm"] == {"rss_bytes": 30}
    assert aggregated.energy == {"joules": 3, "source": "rapl"}
    assert aggregated.other_cores_busy == 0.5
    assert aggregated.conditions == {"before": {"temperature_c": 5}, "after": {"temperature_c": 4}}


def test_a_value_missing_in_one_round_is_none(measurement: Measurement) -> None:
    unknown = dataclasses.replace(
        measurement,
        memory={**measurement.memory, "warm": None},
        energy={"joules": None, "source": None},
        other_cores_busy=None,
    )
    aggregated = aggregate_rounds([measurement, unknown])
    assert aggregated.memory["warm"] is None
    assert aggregated.model_bytes() is None
    assert aggregated.energy["joules"] is None


def test_probes_are_run_too(tiny_file: Path) -> None:
    probes = [(2, 9, 3), (2, 8, 7, 11, 3)]
    measured = measure(tiny_file, input_ids=(2, 7, 3), probes=probes, **BRIEF)
    model = open_model(tiny_file)
    for ids, outputs in zip([(2, 7, 3), *probes], measured.outputs, strict=True):
        np.testing.assert_array_equal(outputs["logits"], model.run(ids)["logits"])


@pytest.mark.parametrize("change", [{"samples_ns": None}, {"outputs": ["no base64!"]}, {"new": 1}])
def test_a_device_of_another_version_is_an_error(
    change: dict[str, object], tiny_file: Path
) -> None:
    class Other(Local):
        name = "other"

        def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
            return super().run(job, timeout_s=timeout_s) | change

    with pytest.raises(DeviceError, match="other returned a result in another form"):
        measure(tiny_file, device=Other(), seq_len=4, **BRIEF)
