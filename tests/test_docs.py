"""The examples in the docstrings give the results that they state."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SLOW = {"albert_edge.conversion"}  # converts a model


def modules() -> Iterator[object]:
    """Yield the modules that have examples which are not all skipped."""
    for path in sorted((ROOT / "albert_edge").rglob("*.py")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if ">>> " in line]
        if any("+SKIP" not in line for line in lines):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            name = name.removesuffix(".__init__")
            yield pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("name", ["wordpiece", "sentencepiece", "base", "protobuf"])
def test_the_tokenizer_has_an_example_in_every_part(name: str) -> None:
    module = importlib.import_module(f"albert_edge.tokenizer.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS) == (0, 1)
