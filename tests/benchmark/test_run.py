"""`albert_edge.benchmark.run`: real files in real processes, and their reports."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.progress import Progress

from albert_edge.benchmark import devices, report_file, run
from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.benchmark.devices.device import Local
from albert_edge.benchmark.statistics import raise_on_failures
from albert_edge.errors import DeviceError, FidelityError, OutputError, ReportError

BRIEF: dict[str, Any] = {"runs": 2, "warmup": 0, "min_time_s": 0.0}
SOURCE = {"provenance": {"source": "here", "sha256": "5" * 64}}
DESCRIPTION = json.loads(Path(report_file.__file__).with_name("schema.json").read_text())


def strict(schema: Any) -> Any:
    """Return the schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: strict(value) for name, value in schema.items()}
    if "required" in inner and "properties" in inner and "description" in inner:
        inner.setdefault("additionalProperties", False)
    return inner


def validate(report: Mapping[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(strict(DESCRIPTION))
    validator.validate(json.loads(report_file.to_json(report)))


def benchmark(*paths: Path, json_path: Path | None = None, **options: Any) -> dict[str, Any]:
    flags = {name: options.pop(name) for name in ("resume", "force", "device") if name in options}
    return run.benchmark(
        paths,
        settings=BenchmarkConfig(**{"rounds": 2, "seq_lens": (8,), **BRIEF, **options}),
        json_path=json_path,
        progress=Progress(disable=True),
        **flags,
    )


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Local]], str]:
    """A function that makes `local` be a device of that class."""

    def connect(kind: type[Local]) -> str:
        monkeypatch.setattr(devices.device, "connect", lambda address: kind())
        return "local"

    return connect


@pytest.fixture(scope="module")
def embedded() -> dict[str, Any]:
    from albert_edge import models

    path = Path(next(iter(models.__path__))) / "sentiment" / "model.tflite"
    return benchmark(path, threads=(1, 2), seq_lens=(8, 16))


def test_the_embedded_model_is_measured_whole(embedded: dict[str, Any]) -> None:
    validate(embedded)
    raise_on_failures(embedded)
    assert embedded["complete"]
    assert [(row["threads"], row["seq_len"]) for row in embedded["rows"]] == [
        (1, 8),
        (2, 8),
        (1, 16),
        (2, 16),
    ]
    for row in embedded["rows"]:
        assert row["status"] == "ok"
        assert len(row["input_ids"]) == row["seq_len"]
        assert (row["n"], len(row["samples_ns"]), len(row["rounds"])) == (4, 4, 2)
        assert sum(one["n"] for one in row["rounds"]) == row["n"]
        assert row["tokens_per_s"] == pytest.approx(row["seq_len"] * row["inferences_per_s"])
        assert row["inferences_per_s"] == pytest.approx(4e9 / sum(row["samples_ns"]))
        assert (row["end_to_end"]["n"], row["end_to_end"]["tokens"] <= row["seq_len"]) == (4, True)
        assert (row["quantize"], row["layout"], row["delegate"]) == ("int8", "loop", "XNNPACK")
        assert row["fidelity"]["passed"]


def test_ranks_are_by_median_within_a_length(embedded: dict[str, Any]) -> None:
    for seq_len in (8, 16):
        rows = [row for row in embedded["rows"] if row["seq_len"] == seq_len]
        ordered = sorted(rows, key=lambda row: row["latency_ms"])
        assert [row["rank"] for row in ordered] == [1, 2]


def test_a_float32_file_of_the_same_checkpoint_is_the_reference(
    make_file: Callable[..., Path],
) -> None:
    report = benchmark(
        make_file("small", quantize="int8", says=SOURCE),
        make_file("fixed", seq_len=4, says=SOURCE),  # float32, but takes no 8 tokens
        make_file("whole", says=SOURCE),
        make_file("stranger", quantize="int8"),
        rounds=1,
    )
    references = {
        row["name"]: (row["fidelity"] or {}).get("reference", {}).get("name")
        for row in report["rows"]
    }
    assert references == {"small": "whole", "fixed": None, "whole": "whole", "stranger": "stranger"}
    validate(report)


def test_a_file_with_wrong_outputs_has_no_rank(
    make_file: Callable[..., Path],
) -> None:
    # An int8 file marked as float32: its outputs are far outside that recipe's tolerance.
    liar = make_file("liar", quantize="int8", says={"quantize": "float32", **SOURCE})
    report = benchmark(make_file("honest", says=SOURCE), liar)
    validate(report)
    honest, wrong = report["rows"]
    assert (honest["status"], honest["rank"]) == ("ok", 1)
    assert (wrong["status"], wrong["rank"]) == ("wrong", None)
    assert wrong["fidelity"]["outputs"]["logits"]["error"] > wrong["fidelity"]["limit"]
    with pytest.raises(
        FidelityError,
        match=r"liar \(cpu, 1 thread, T=8\): the relative error of logits against honest is",
    ):
        raise_on_failures(report)


def test_failures_are_reported_and_the_rest_is_measured(
    make_file: Callable[..., Path], tmp_path: Path
) -> None:
    missing, empty = tmp_path / "missing.tflite", tmp_path / "empty.tflite"
    empty.write_bytes(b"")
    report = benchmark(missing, make_file("short", seq_len=4), empty, make_file("good"))
    validate(report)
    assert [row["status"] for row in report["rows"]] == ["error", "error", "error", "ok"]
    assert report["rows"][1]["error"]["type"] == "InputError"
    assert "latency_ms" not in report["rows"][0]
    with pytest.raises(DeviceError, match=r"(?s)3 of 4 failed.*missing.*8 tokens are too many"):
        raise_on_failures(report)


class Flaky(Local):
    """This machine, on which the second measurement of all fails."""

    taken = 0

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        if job["do"] == "measure":
            Flaky.taken += 1
            if Flaky.taken == 2:
                raise DeviceError("the device is gone")
        return super().run(job, timeout_s=timeout_s)


class Interrupted(Local):
    """This machine, and a user who presses Control-C at the third measurement."""

    taken = 0

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        if job["do"] == "measure":
            Interrupted.taken += 1
            if Interrupted.taken == 3:
                raise KeyboardInterrupt
        return super().run(job, timeout_s=timeout_s)


def test_a_device_that_fails_once_costs_one_configuration_which_can_be_resumed(
    tiny_file: Path, tmp_path: Path, connected: Callable[[type[Local]], str]
) -> None:
    Flaky.taken, kept = 0, tmp_path / "report.json"
    connected(Flaky)
    report = benchmark(tiny_file, threads=(1, 2), json_path=kept)
    validate(report)
    assert sorted(row["status"] for row in report["rows"]) == ["error", "ok"]
    assert Flaky.taken == 3  # the one that failed is not tried again in the second round
    again = benchmark(tiny_file, threads=(1, 2), json_path=kept, resume=True)
    assert [row["status"] for row in again["rows"]] == ["ok", "ok"]
    assert Flaky.taken == 5  # only the two that were missing


def test_an_interrupted_run_is_saved_and_resumed(
    tiny_file: Path, tmp_path: Path, connected: Callable[[type[Local]], str]
) -> None:
    Interrupted.taken, kept = 0, tmp_path / "report.json"
    connected(Interrupted)
    with pytest.raises(DeviceError, match=r"interrupted.*--resume continues"):
        benchmark(tiny_file, threads=(1, 2), json_path=kept)
    half = json.loads(kept.read_text())
    validate(half)
    assert not half["complete"]
    assert [len(row["rounds"]) for row in half["rows"]] == [1, 1]

    whole = benchmark(tiny_file, threads=(1, 2), json_path=kept, resume=True)
    assert Interrupted.taken == 3 + 2
    assert whole["complete"]
    assert json.loads(kept.read_text()) == json.loads(report_file.to_json(whole))
    for before, after in zip(half["rows"], whole["rows"], strict=True):
        assert after["samples_ns"][: before["n"]] == before["samples_ns"]
        assert after["rounds"][0] == before["rounds"][0]
        assert len(after["rounds"]) == 2
        assert after["fidelity"]["passed"]


def test_a_whole_report_is_resumed_without_measuring(
    tiny_file: Path, tmp_path: Path, connected: Callable[[type[Local]], str]
) -> None:
    kept = tmp_path / "report.json"
    first = benchmark(tiny_file, json_path=kept, resume=True)  # there is none yet: it begins
    Flaky.taken = 5
    connected(Flaky)
    again = benchmark(tiny_file, json_path=kept, resume=True)
    assert report_file.to_json(again) == report_file.to_json(first)
    assert Flaky.taken == 5


def test_a_report_of_another_run_is_not_resumed(
    tiny_file: Path, make_file: Callable[..., Path], tmp_path: Path
) -> None:
    kept = tmp_path / "report.json"
    benchmark(tiny_file, json_path=kept, rounds=1)
    before = kept.read_bytes()
    with pytest.raises(OutputError, match="exists; give --force"):
        benchmark(tiny_file, json_path=kept, rounds=1)
    with pytest.raises(ReportError, match="cannot be resumed, because its settings differs"):
        benchmark(tiny_file, json_path=kept, rounds=2, resume=True)
    with pytest.raises(ReportError, match="cannot be resumed, because its files differs"):
        benchmark(make_file("other"), json_path=kept, rounds=1, resume=True)
    assert kept.read_bytes() == before
    kept.write_bytes(before.replace(b'"cpu_samples_ns"', b'"lost"'))
    with pytest.raises(ReportError, match=r"damaged: report\.rows\[0\] lacks cpu_samples"):
        benchmark(tiny_file, json_path=kept, rounds=1, resume=True)
    assert benchmark(tiny_file, json_path=kept, rounds=1, force=True)["complete"]


def test_the_report_never_replaces_a_model(tiny_file: Path) -> None:
    before = tiny_file.read_bytes()
    with pytest.raises(OutputError, match="is one of the files to be measured"):
        benchmark(tiny_file, json_path=tiny_file, force=True)
    assert tiny_file.read_bytes() == before


def test_every_round_measures_every_configuration(
    tiny_file: Path, connected: Callable[[type[Local]], str]
) -> None:
    threads: list[int] = []

    class Watched(Local):
        def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
            if job["do"] == "measure":
                threads.append(job["threads"])
            return super().run(job, timeout_s=timeout_s)

    connected(Watched)
    benchmark(tiny_file, threads=(1, 2, 3), rounds=2)
    assert sorted(threads[:3]) == sorted(threads[3:]) == [1, 2, 3]


def _replace_by(content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        other = path.with_name("other")
        other.write_bytes(content)
        other.replace(path)

    return change


REPLACED = "the file was replaced while it was measured"
CHANGES: dict[str, Callable[[Path], object]] = {
    "another model": lambda path: _replace_by(path.with_name("second.tflite").read_bytes())(path),
    "a damaged model": lambda path: _replace_by(path.read_bytes()[:-700])(path),
    "something else": _replace_by(b"\x89PNG"),
    "nothing": Path.unlink,
    "written in place": lambda path: path.write_bytes(path.with_name("second.tflite").read_bytes()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("at", [1, 2])
def test_a_file_that_is_replaced_between_rounds_is_an_error(
    at: int,
    change: Callable[[Path], object],
    make_file: Callable[..., Path],
    connected: Callable[[type[Local]], str],
) -> None:
    path, second = make_file("first"), make_file("second", quantize="int8")
    size_bytes, taken = path.stat().st_size, []

    class Changing(Local):
        def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
            if job["do"] == "measure" and job["path"] == str(path):
                taken.append(job)
                if len(taken) == at:
                    change(path)
            return super().run(job, timeout_s=timeout_s)

    connected(Changing)
    report = benchmark(path, second)
    validate(report)
    row, other = report["rows"]
    assert row["status"] == "error"
    assert row["error"]["type"] == "BundleError"
    assert row["error"]["message"].startswith(REPLACED)
    assert row["size_bytes"] == size_bytes
    assert len(row.get("rounds", [])) == at - 1  # those of the planned file
    assert other["status"] == "ok"
    assert len(taken) == at


def test_a_reference_that_is_replaced_is_an_error(
    make_file: Callable[..., Path], connected: Callable[[type[Local]], str]
) -> None:
    whole, small = make_file("whole", says=SOURCE), make_file("small", quantize="int8", says=SOURCE)
    before = whole.read_bytes()

    class Changing(Local):
        def send(self, path: Path) -> str:
            whole.write_bytes(small.read_bytes())
            return super().send(path)

    connected(Changing)
    report = benchmark(small, whole)
    assert [row["error"]["message"].startswith(REPLACED) for row in report["rows"]] == [True] * 2
    assert whole.read_bytes() != before


@pytest.fixture(scope="module")
def recorded(tiny_file: Path) -> dict[str, Any]:
    """The results of the worker, by what the job does."""
    results: dict[str, Any] = {}
    measure = Local.run

    def record(self: Local, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        results[job["do"]] = measure(self, job, timeout_s=timeout_s)
        return copy.deepcopy(results[job["do"]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Local, "run", record)
        benchmark(tiny_file, rounds=1)
    return results


ODD = (
    *(None, True, -1, 0, 2**63, 10**40, 0.5, math.nan, math.inf, "", "x", "\ud800", [], {}),
    *([1], [[]], ["x"], [math.nan], {"a": 1}, {"": None}, {"rss_bytes": "1"}, ["UEsDBA=="]),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_device_that_returns_anything_else_is_a_device_error(
    data: st.DataObject, recorded: dict[str, Any], tiny_file: Path
) -> None:
    returned = copy.deepcopy(recorded)
    holder: Any = returned[data.draw(st.sampled_from(["describe", "measure"]))]
    key = data.draw(st.sampled_from(sorted(holder)))
    while isinstance(holder[key], (dict, list)) and holder[key] and data.draw(st.booleans()):
        holder = holder[key]
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        key = data.draw(st.sampled_from(keys))
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(st.sampled_from(ODD))

    class Odd(Local):
        def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
            return copy.deepcopy(returned[job["do"]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices.device, "connect", lambda address: Odd())
        patch.setattr(Local, "run", lambda self, job, **_: copy.deepcopy(recorded[job["do"]]))
        try:
            report = benchmark(tiny_file)
        except DeviceError:
            return
    validate(report)
    (row,) = report["rows"]
    assert row["status"] in ("ok", "wrong") or row["error"]["type"] in (
        "DeviceError",
        "BundleError",
    )
