"""The tests of `test_tasks` with TFLite 2.19 of the desktop, in a file for a worker of its own."""

from __future__ import annotations

import pytest

from android.test_tasks import *  # noqa: F403 (every test of it, and their fixtures)


@pytest.fixture(scope="module")
def runtime() -> str:
    """Which TFLite runs the files."""
    return "desktop"
