"""Question answering of the Android library: the tests that take longest, for one worker."""

from __future__ import annotations

from android.task_tests import *  # noqa: F403 (every test of it, and their fixtures)

NAMES = ["question-answering"]
