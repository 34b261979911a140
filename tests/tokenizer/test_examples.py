"""The examples in the documentation say what is so."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["basic", "preprocess", "special", "wire"])
def test_examples(name: str) -> None:
    module = importlib.import_module(f"albert_edge.tokenizer.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS) == (0, 1)
