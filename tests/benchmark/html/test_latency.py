"""The charts of latency: every sample, and medians by length."""

from __future__ import annotations

from typing import Any

from benchmark.html.page import Page


def test_every_measured_configuration_has_its_samples(page: Page, report: dict[str, Any]) -> None:
    strips = page.all("svg", **{"class": "strip"})
    measured = [row for row in report["rows"] if "samples_ns" in row]
    assert len(strips) == len(measured) == 6
    told = sorted(int(one["aria-label"].split()[0]) for one in strips)
    assert told == sorted(len(row["samples_ns"]) for row in measured)
    # One circle for the median of every round.
    assert len(page.all("circle", **{"class": "round"})) == 6 * 2
