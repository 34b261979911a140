"""Run a few seconds of each area, as `python -m tests.fuzz` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from .engine import fuzz


@pytest.mark.parametrize(("area", "kinds", "seconds"), [("tflite", "", 12.0), ("data", "", 5.0)])
def test_damaged_input_is_refused_or_harmless(
    area: str, kinds: str, seconds: float, tmp_path: Path
) -> None:
    table = fuzz(area, tmp_path, seconds=seconds, kinds=kinds)
    assert not table.failures, "\n".join((table.format(), *table.failures))
    assert table.cases() >= 15, table.format()  # of each kind at least one


@pytest.mark.slow
@pytest.mark.parametrize("area", ["data", "tflite"])
def test_damaged_input_for_long(area: str, tmp_path: Path) -> None:
    table = fuzz(area, tmp_path, seconds=1800, first=10**6)
    print(table.format())
    assert not table.failures, "\n".join((table.format(), *table.failures))
