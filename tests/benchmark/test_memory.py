"""`albert_edge.benchmark.memory_energy`, on this very process."""

from __future__ import annotations

import sys

import pytest

from albert_edge.benchmark.memory_energy import read_memory, read_peak_bytes, reset_peak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
BLOCK = 64 * 2**20
# What else this process may do meanwhile; and the kernel's own counters lag by some pages.
SLACK = 8 * 2**20


def test_what_is_allocated_and_written_is_seen() -> None:
    before = read_memory()
    block = bytearray(b"\1") * BLOCK
    after = read_memory()
    assert before is not None
    assert after is not None
    assert abs(after["anonymous_bytes"] - before["anonymous_bytes"] - len(block)) < SLACK
    assert after["rss_bytes"] == after["anonymous_bytes"] + after["file_bytes"]


def test_the_peak_outlasts_the_memory_until_it_is_reset() -> None:
    if not reset_peak():
        pytest.skip("this kernel does not let a process reset its peak")
    before = read_peak_bytes()
    block = bytearray(b"\1") * BLOCK
    del block
    assert read_peak_bytes() - before > BLOCK - SLACK
    assert reset_peak()
    assert read_peak_bytes() - before < SLACK
