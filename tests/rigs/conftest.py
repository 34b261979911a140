"""What several rigs run: files of the embedded model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from albert_edge import convert, load_keras


@pytest.fixture(scope="session")
def embedded(built_once) -> Callable[[str, str], Path]:
    """A function that converts the embedded model, which exits early."""

    @cache
    def make(target: str, quantize: str) -> Path:
        def build(path: Path) -> None:
            model = load_keras("default")
            convert(model, target=target, quantize=quantize, verified=False).save(path)

        return built_once(f"embedded_{target}_{quantize}.tflite", build)

    return make
