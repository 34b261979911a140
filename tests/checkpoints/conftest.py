"""Sound checkpoints, to be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from checkpoints.files import PARITY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound checkpoint for three-way classification, to be damaged."""
    return Path(shutil.copytree(PARITY / "base_classification", tmp_path / "checkpoint"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "sound"
    write_checkpoint(folder, read_checkpoint(PARITY / "odd_one_type_answers"), to="tensorflow1")
    return folder
