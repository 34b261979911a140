"""The examples in the docstrings are right."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from albert_edge.evaluation import rouge, squad, statistics


@pytest.mark.parametrize("module", [rouge, squad, statistics])
def test_examples(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
