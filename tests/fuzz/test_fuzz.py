"""Run a few seconds of each area, as `python -m tests.fuzz` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from .engine import AREAS, fuzz


# Of each kind of mutation at least one; of kills, whose cases take seconds, one of each verb.
@pytest.mark.parametrize(
    ("area", "seconds", "least"),
    [("tflite", 12.0, 15), ("isolated", 8.0, 10), ("data", 5.0, 12), ("kill", 20.0, 6)],
)
def test_damaged_input_is_refused_or_harmless(
    area: str, seconds: float, least: int, tmp_path: Path
) -> None:
    table = fuzz(area, tmp_path, seconds=seconds, least=least)
    assert not table.failures, "\n".join((table.format(), *table.failures))
    assert table.cases() >= least, table.format()


@pytest.mark.slow
@pytest.mark.parametrize("area", AREAS)
def test_damaged_input_for_long(area: str, tmp_path: Path) -> None:
    table = fuzz(area, tmp_path, seconds=450, first=10**6)
    print(table.format())
    assert not table.failures, "\n".join((table.format(), *table.failures))
