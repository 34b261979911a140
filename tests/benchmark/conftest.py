"""One small model file, measured once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from albert_edge.benchmark.measure import Measurement, measure


@pytest.fixture(scope="session")
def tiny_file(tiny_tflite: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "tiny.tflite"
    path.write_bytes(tiny_tflite())
    return path


@pytest.fixture(scope="session")
def measurement(tiny_file: Path) -> Measurement:
    return measure(tiny_file, seq_len=16, runs=30, warmup=1, min_time_s=0)
