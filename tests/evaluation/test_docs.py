"""The examples in the docstrings are correct."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from albert_edge.evaluation import intervals, rouge, squad


@pytest.mark.parametrize("module", [rouge, squad, intervals])
def test_examples(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
