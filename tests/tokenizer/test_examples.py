"""The examples in the docstrings give the results that they state."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["wordpiece", "sentencepiece", "base", "protobuf"])
def test_examples(name: str) -> None:
    module = importlib.import_module(f"albert_edge.tokenizer.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS) == (0, 1)
