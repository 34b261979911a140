"""The sweep that all tests share, as a report, and as a copy to change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def copied(swept: Path, tmp_path: Path) -> Path:
    """A copy of the folder of `swept`, which a test may change."""
    return Path(shutil.copytree(swept, tmp_path / "copied"))


@pytest.fixture(scope="session")
def report(swept: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((swept / "out" / "report.json").read_text())
    return made
