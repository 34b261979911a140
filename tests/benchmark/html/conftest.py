"""The page of the report."""

from __future__ import annotations

from typing import Any

import pytest

from albert_edge.benchmark.html import render_page
from benchmark.html.page import Page


@pytest.fixture(scope="module")
def page(report: dict[str, Any]) -> Page:
    return Page(render_page(report))
