"""The state of a training: written, read again, and refused where it does not belong."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import OutputError, TrainingError
from albert_edge.training.finetune_files import finetune_files
from albert_edge.training.options import FinetuneOptions


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
