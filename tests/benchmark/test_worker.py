"""The measured process: its inputs, and the file that it measures."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.benchmark import worker
from albert_edge.benchmark.measure import ENGINE, Measurement, measure
from albert_edge.benchmark.outputs import decode_outputs
from albert_edge.benchmark.worker import (
    check_same_file,
    file_digest,
    file_state,
    random_ids,
    run_job,
)
from albert_edge.errors import BundleError
from albert_edge.runtime import open_model
from benchmark.samples import BRIEF


def test_random_ids_are_ordinary_tokens_and_always_the_same(
    measurement: Measurement, tiny_file: Path
) -> None:
    assert len(measurement.input_ids) == 16
    assert all(5 <= token < 60 for token in measurement.input_ids)
    assert measure(tiny_file, seq_len=16, **BRIEF).input_ids == measurement.input_ids


def test_given_ids_are_used(tiny_file: Path) -> None:
    given = (2, 7, 9, 3)
    measured = measure(tiny_file, input_ids=given, **BRIEF)
    assert measured.input_ids == given
    here = open_model(tiny_file).run(given)
    np.testing.assert_array_equal(measured.outputs[0]["logits"], here["logits"])


@given(st.integers(1, 30_000), st.integers(1, 64), st.integers(0, 9))
def test_random_ids_are_in_the_vocabulary(vocab_size: int, length: int, seed: int) -> None:
    ids = random_ids(vocab_size, length, seed=seed)
    assert (ids.shape, ids.dtype) == ((length,), np.int32)
    assert ids.min() >= min(5, vocab_size - 1)  # 0 to 4 are special tokens
    assert ids.max() < vocab_size
    np.testing.assert_array_equal(ids, random_ids(vocab_size, length, seed=seed))


def test_a_file_that_is_replaced_has_another_state(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"first")
    other.write_bytes(b"other")  # of the same size
    before = file_state(path)
    check_same_file(before, file_state(path))
    other.replace(path)
    with pytest.raises(BundleError, match="the file was replaced while it was measured"):
        check_same_file(before, file_state(path))
    assert file_state(tmp_path / "none") is None


def test_a_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8193  # more than is read at a time
    (tmp_path / "a").write_bytes(content)
    assert file_digest(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_job_is_of_the_file_that_was_planned(tiny_file: Path) -> None:
    ids = np.array([[2, 9, 3]], np.int32)
    job = {"do": "predict", "path": str(tiny_file), "engine": ENGINE, "threads": 1, "inputs": [ids]}
    done = run_job({**job, "sha256": file_digest(tiny_file)})
    assert done["size_bytes"] == tiny_file.stat().st_size
    (outputs,) = map(decode_outputs, done["outputs"])
    np.testing.assert_array_equal(outputs["logits"], open_model(tiny_file).run(ids)["logits"])
    with pytest.raises(BundleError, match="the file was replaced while it was measured"):
        run_job({**job, "sha256": "0" * 64})


def test_other_runtimes_are_measured_without_a_tokenizer() -> None:
    # Their environments have NumPy and themselves.
    modules = "albert_edge.benchmark.worker, albert_edge.benchmark.outputs"
    code = f"import sys; sys.modules['sentencepiece'] = None; import {modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_timing_goes_on_for_the_least_time_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0

    def infer() -> None:
        nonlocal now
        now += 10_000_000

    monkeypatch.setattr(worker, "perf_counter_ns", lambda: now)
    taken = worker._time_warm({"runs": 1, "min_time_s": 0.2}, infer)["samples_ns"]
    assert taken == [10_000_000] * 20
    taken = worker._time_warm({"runs": 25, "min_time_s": 0.2}, infer)["samples_ns"]
    assert taken == [10_000_000] * 25
