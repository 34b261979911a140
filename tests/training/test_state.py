"""The state of a training: written, read again, and refused where it does not belong."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.checkpoints import Checkpoint, check_folder, read_checkpoint
from albert_edge.config import preset
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import OutputError, TrainingError
from albert_edge.training.finetune import _restore_generator, finetune
from albert_edge.training.finetune_files import finetune_files
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.state import (
    Resumable,
    StateWriter,
    TrainingState,
    check_state,
    fingerprint,
    open_state,
    write_state,
)
from albert_edge.training.tasks.classification import ClassificationObjective

INTERRUPTED = Path(__file__).parents[1] / "data" / "written_by_0_1" / "interrupted"


def test_a_killed_training_goes_on(toy_table: Path, toy_shape: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from albert_edge.cli import main; main()", "finetune"]
    command += [str(toy_table), "-o", "model", "--config", str(toy_shape), "--save-every", "0"]
    command += ["--epochs", "60", "--max-length", "32", "--dev", str(toy_table)]
    command += ["--learning-rate", "3e-3", "--batch-tokens", "512", "--sampling", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    state, began = tmp_path / "model.training", time.monotonic()
    while not (state.exists() and (tmp_path / "model" / "config.json").exists()):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() - began < 120
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again: dict[str, Any] = {
        "config": toy_shape,
        "dev": toy_table,
        # Whatever the seed, and so wherever it was killed: in 60 epochs this is learned whole.
        "options": FinetuneOptions(
            epochs=60, max_length=32, learning_rate=3e-3, batch_tokens=512, sampling=1.0
        ),
    }
    with pytest.raises(OutputError, match="interrupted training; give --resume to continue"):
        finetune_files(toy_table, tmp_path / "model", **again)
    with pytest.raises(TrainingError, match="give --resume to continue a training or --force"):
        finetune_files(toy_table, tmp_path / "model", **again, resume=True, force=True)
    other = {**again, "data_options": EvaluateOptions(bullets=1)}
    with pytest.raises(TrainingError, match="other data, options or weights"):
        finetune_files(toy_table, tmp_path / "model", **other, resume=True)
    report = finetune_files(toy_table, tmp_path / "model", **again, resume=True)
    assert report["resumed"]
    assert [epoch["epoch"] for epoch in report["epochs"]] == list(range(1, 61))
    assert report["dev_accuracy"] > 0.9
    assert not state.exists()


def state(**changes: Any) -> TrainingState:
    values: dict[str, Any] = {
        "epoch": 2,
        "index": 5,
        "steps": 40,
        "random": np.random.default_rng(3).bit_generator.state,
        "sums": (1.5, 0.25, 8.0),
        "arrays": [np.float32([[1, 2], [3, 4]]), np.array(7, np.int64)],
        "history": [{"epoch": 1, "loss": 0.5}],
    }
    return TrainingState(**{**values, **changes})


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    path, written = tmp_path / "state", state()
    write_state(path, written, owner="mine")
    found = open_state(path, owner="mine", resume=True)
    assert found is not None
    for name in ("epoch", "index", "steps", "random", "history"):
        assert getattr(found, name) == getattr(written, name)
    assert tuple(found.sums) == written.sums
    for one, other in zip(found.arrays, written.arrays, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    again = np.random.default_rng()
    again.bit_generator.state = found.random
    assert again.integers(1 << 60) == np.random.default_rng(3).integers(1 << 60)


def test_a_sum_that_a_task_does_not_have(tmp_path: Path) -> None:
    write_state(tmp_path / "state", state(sums=(1.5, math.nan, 8.0)), owner="mine")
    found = open_state(tmp_path / "state", owner="mine", resume=True)
    assert found is not None
    np.testing.assert_array_equal(found.sums, (1.5, math.nan, 8.0))


def test_a_state_of_another_training_or_none(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with pytest.raises(TrainingError, match="there is no training to resume"):
        open_state(path, owner="mine", resume=True)
    write_state(path, state(), owner="mine")
    with pytest.raises(TrainingError, match="other data, options or weights"):
        open_state(path, owner="yours", resume=True)
    assert open_state(path, owner="yours", resume=False) is None
    assert not path.exists()


@given(st.data())
def test_a_damaged_state_is_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged_state"
    write_state(path, state(), owner="mine")
    blob = path.read_bytes()
    path.write_bytes(blob[: data.draw(st.integers(0, len(blob) - 1))])
    with pytest.raises(TrainingError, match="is damaged; restart with --force"):
        open_state(path, owner="mine", resume=True)


def test_a_writer_waits_for_its_interval_and_keeps_the_history(tmp_path: Path) -> None:
    history = [{"epoch": 1}]
    assert not StateWriter(tmp_path / "state", "mine", every_s=1000, history=history).is_due()
    writer = StateWriter(tmp_path / "state", "mine", every_s=0, history=history)
    assert writer.is_due()
    history.append({"epoch": 2})
    writer.write(state(history=()))
    found = open_state(tmp_path / "state", owner="mine", resume=True)
    assert found is not None
    assert found.history == [{"epoch": 1}, {"epoch": 2}]


def test_what_is_in_the_way_is_found_before_training(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="file is a file; name a directory"):
        check_folder(file, force=True)
    (tmp_path / "model").mkdir()
    check_folder(tmp_path / "model", force=False)
    (tmp_path / "model/config.json").write_text("{}")
    with pytest.raises(OutputError, match="exists; give --force"):
        check_folder(tmp_path / "model", force=False)
    check_folder(tmp_path / "model", force=True)
    check_state(tmp_path / "none", resume=False, force=False)
    with pytest.raises(TrainingError, match="there is no training to resume"):
        check_state(tmp_path / "none", resume=True, force=False)
    with pytest.raises(OutputError, match="is the state of an interrupted training"):
        check_state(file, resume=False, force=False)
    with pytest.raises(TrainingError, match="not both"):
        check_state(file, resume=True, force=True)


def test_a_fingerprint_depends_on_everything() -> None:
    start = Checkpoint(
        config=preset("albert-base-v2"), task="fill-mask", tensors={"a": np.zeros(2, np.float32)}
    )
    wider = dataclasses.replace(start.config, vocab_size=7)
    variants = [
        fingerprint(start),
        fingerprint(start, b"data"),
        fingerprint(start, np.array([1, 2])),
        fingerprint(start, np.array([1, 3])),
        fingerprint(dataclasses.replace(start, config=wider)),
        fingerprint(dataclasses.replace(start, tensors={"a": np.ones(2, np.float32)})),
        fingerprint(dataclasses.replace(start, tensors={"b": np.zeros(2, np.float32)})),
    ]
    assert len(set(variants)) == len(variants)
    assert fingerprint(start, b"data") == variants[1]


class PulledError(Exception):
    """The plug was pulled."""


def _tensors(start: Checkpoint, table: Path, **more: Any) -> Mapping[str, np.ndarray]:
    examples = read_examples(table, "classification", start.config.labels, EvaluateOptions())
    *_, last = finetune(start, ClassificationObjective(examples), options=SAMPLED, **more)
    return last.checkpoint.tensors


SAMPLED = FinetuneOptions(epochs=2, max_length=32, batch_tokens=512)  # subwords are sampled


@pytest.fixture(scope="module")
def droppy(toy_model: Path) -> Checkpoint:
    """A checkpoint with every kind of dropout."""
    start = read_checkpoint(toy_model)
    rates = dict.fromkeys(
        ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob"), 0.2
    )
    return replace(start, config=replace(start.config, **rates))


@pytest.fixture(scope="module")
def trained(droppy: Checkpoint, toy_table: Path) -> Mapping[str, np.ndarray]:
    return _tensors(droppy, toy_table)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_seed_decides_the_model_bit_for_bit_wherever_it_is_interrupted(
    steps: int,
    droppy: Checkpoint,
    toy_table: Path,
    trained: Mapping[str, np.ndarray],
    tmp_path: Path,
) -> None:
    left = steps

    def pull(*_: float) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise PulledError

    writer = StateWriter(tmp_path / "state", "it", every_s=0.0)
    with pytest.raises(PulledError):
        _tensors(droppy, toy_table, writer=writer, progress=pull)
    saved = open_state(tmp_path / "state", owner="it", resume=True)
    resumed = _tensors(droppy, toy_table, saved=saved)
    for name, values in trained.items():
        assert np.array_equal(values, resumed[name]), name
    assert any(not np.array_equal(values, droppy.tensors[name]) for name, values in trained.items())


def _mutants(blob: bytes) -> st.SearchStrategy[bytes]:
    """Damage a state: bytes anywhere, or its text or an array's header with a valid checksum."""
    bits = st.lists(
        st.tuples(st.integers(0, len(blob) - 1), st.integers(0, 255)), min_size=1, max_size=4
    ).map(lambda changes: _changed(blob, changes))
    cut = st.integers(0, len(blob) - 1).map(lambda size: blob[:size])
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    inner = st.tuples(
        st.sampled_from(["arr_0.npy", "arr_1.npy", "arr_5.npy"]),
        st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=3),
    ).map(lambda one: _packed({**parts, one[0]: _changed(parts[one[0]], one[1])}))
    values = json.loads(str(np.load(io.BytesIO(parts["arr_0.npy"]))))
    junk = st.sampled_from(
        [None, -1, 2**70, 0.5, "x", [], {}, [None], {"a": 1}, True, float("nan")]
    )
    text = st.tuples(st.sampled_from(sorted(values)), junk).map(
        lambda one: {**parts, "arr_0.npy": _array(json.dumps({**values, one[0]: one[1]}))}
    )
    header = st.sampled_from(
        [
            ("<f4", (2**40,)),
            ("<f4", (-1, -1)),
            ("|O", (1,)),
            ("<f8", (3, 3)),
            ("<U9", ()),
            ("<f4", ()),
        ]
    ).map(lambda one: _packed({**parts, "arr_1.npy": _header(*one) + bytes(64)}))
    return st.one_of(bits, cut, inner, text.map(_packed), header)


def _changed(blob: bytes, changes: list[tuple[int, int]]) -> bytes:
    damaged = bytearray(blob)
    for at, value in changes:
        damaged[at % len(blob)] = value
    return bytes(damaged)


def _packed(parts: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def _array(text: str) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(text))
    return file.getvalue()


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    values = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, values)
    return file.getvalue()


class _Variables(Resumable):
    """As many variables as the trainer of the kept training has."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.variables = [tf.Variable(array) for array in arrays]

    def _variables(self) -> Sequence[Any]:
        return self.variables


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=100)
@given(data=st.data())
def test_a_damaged_state_is_one_error(data: st.DataObject) -> None:
    blob = (INTERRUPTED / "finetune.training").read_bytes()
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        owner = json.loads(str(np.load(io.BytesIO(archive.read("arr_0.npy")))))["of"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        path.write_bytes(blob)
        whole = open_state(path, owner=owner, resume=True)
        path.write_bytes(data.draw(_mutants(blob)))
        try:
            saved = open_state(path, owner=owner, resume=True)
            _Variables(whole.arrays).set_state(saved.arrays)
            _restore_generator(np.random.default_rng(0), saved)
        except TrainingError as error:
            message = str(error)
            assert re.search("damaged|of a training with other data", message)
